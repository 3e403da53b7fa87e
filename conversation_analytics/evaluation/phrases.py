# ruff: noqa: RUF001, E501 - Chinese punctuation and Vietnamese letters are meant; a language stays on a line
"""Made-up phrases in nine languages, written for this package: nothing was trained on them."""

from __future__ import annotations

from typing import Final

_SHORT: Final[dict[str, str]] = {
    "en": "good morning|thank you|see you later|where is it|not working|how much|help me please|never mind|that's wrong|try again|what happened|I agree|sounds good|cancel order|my invoice|still waiting|too expensive|what time|who are you|tell me more|very helpful|wrong address|which one|maybe later|yes please|no thanks|change password|last question|show me|I forgot",
    "th": "สวัสดีครับ|ขอบคุณค่ะ|ราคาเท่าไหร่|ช่วยด้วย|ไม่เข้าใจ|อยู่ที่ไหน|ใช้ไม่ได้|ขอคืนเงิน|รอนานแล้ว|กี่โมง|ทำยังไง|ตกลงครับ|ไม่เป็นไร|ลืมรหัสผ่าน|ส่งของเมื่อไหร่|แพงไป|ขอใบเสร็จ|ลองอีกครั้ง|ใช่ค่ะ|ไม่ใช่|ขอดูหน่อย|แค่นี้ก่อน|ดีมากเลย|ผิดที่อยู่|เปลี่ยนรหัส|คุณคือใคร|โอเคครับ|เอาอันนี้|ยกเลิกออเดอร์|คำถามสุดท้าย",
    "vi": "xin chào bạn|cảm ơn nhiều|giá bao nhiêu|giúp tôi với|không hiểu gì|ở đâu vậy|không dùng được|hoàn tiền đi|chờ lâu quá|mấy giờ rồi|làm thế nào|được rồi|không sao đâu|quên mật khẩu|bao giờ giao|đắt quá|xin hóa đơn|thử lại nhé|đúng rồi|không phải|cho xem thử|thế thôi|rất tốt|sai địa chỉ|đổi mật khẩu|bạn là ai|vâng ạ|lấy cái này|hủy đơn hàng|câu hỏi cuối",
    "zh": "你好|谢谢你|多少钱|帮帮我|听不懂|在哪里|用不了|我要退款|等太久了|几点了|怎么办|好的|没关系|忘记密码|什么时候发货|太贵了|要发票|再试一次|是的|不是|给我看看|就这样吧|非常好|地址错了|改密码|你是谁|没问题|要这个|取消订单|最后一个问题",
    "id": "selamat pagi|terima kasih|berapa harganya|tolong bantu saya|tidak mengerti|di mana itu|tidak bisa dipakai|minta uang kembali|sudah lama menunggu|jam berapa|bagaimana caranya|baiklah|tidak apa-apa|lupa kata sandi|kapan dikirim|terlalu mahal|minta kuitansi|coba lagi|betul sekali|bukan itu|lihat dulu|itu saja|bagus sekali|alamatnya salah|ganti sandi|kamu siapa|sudah selesai|yang ini saja|batalkan pesanan|pertanyaan terakhir",
    "es": "buenos días|muchas gracias|cuánto cuesta|ayúdame por favor|no entiendo|dónde está|no funciona|quiero mi reembolso|sigo esperando|qué hora es|cómo se hace|de acuerdo|no pasa nada|olvidé mi contraseña|cuándo llega|demasiado caro|necesito factura|inténtalo otra vez|así es|eso no|muéstrame más|nada más|muy bien|dirección equivocada|cambiar contraseña|quién eres|ya está|quiero este|cancelar el pedido|última pregunta",
    "pt": "bom dia|muito obrigado|quanto custa|me ajuda aí|não entendi|onde fica|não funciona|quero reembolso|ainda esperando|que horas são|como faço isso|tudo bem|não faz mal|esqueci a senha|quando chega|caro demais|preciso da nota|tente de novo|isso mesmo|não é isso|me mostra|só isso|muito bom|endereço errado|mudar a senha|quem é você|já consegui|quero este aqui|cancelar o pedido|última pergunta",
    "fr": "bonjour madame|merci beaucoup|combien ça coûte|aidez-moi|je comprends pas|où est-ce|marche pas|remboursez-moi|j'attends toujours|quelle heure|comment faire|d'accord|pas grave|compte bloqué|quand arrive-t-il|trop cher|facture svp|réessayez|c'est ça|pas celui-là|montrez-moi|c'est tout|très bien|mauvaise adresse|changer l'adresse|qui êtes-vous|c'est bon|je veux celui-ci|annuler la commande|dernière question",
    "de": "guten Morgen|vielen Dank|was kostet das|bitte hilf mir|verstehe ich nicht|wo ist das|geht nicht|Geld zurück bitte|warte immer noch|wie spät|wie geht das|in Ordnung|macht nichts|Passwort vergessen|wann kommt es|viel zu teuer|brauche eine Rechnung|noch einmal|genau das|das nicht|zeig mal|das war's|sehr gut|falsche Adresse|Kennwort ändern|wer bist du|schon erledigt|ich nehme das|Bestellung stornieren|letzte Frage",
}  # fmt: skip
_SENTENCES: Final[dict[str, str]] = {
    "th": "ฉันสั่งรองเท้าไปเมื่อวันจันทร์แต่ยังไม่ได้รับของเลย|ช่วยอธิบายหน่อยว่าดอกเบี้ยทบต้นคิดอย่างไร|พรุ่งนี้ที่เชียงใหม่ฝนจะตกไหมครับ|อยากได้สูตรแกงเขียวหวานสำหรับสี่คน|ทำไมแอปถึงปิดตัวเองทุกครั้งที่เปิดกล้อง|ช่วยเขียน email ถึงหัวหน้าเพื่อขอลางานสองวัน|โค้ด Python นี้ error ตรงไหน ช่วยดูให้หน่อย|ร้านเปิดถึงกี่โมงในวันหยุด",
    "vi": "Tôi đặt giày từ thứ hai mà đến giờ vẫn chưa nhận được hàng|Bạn giải thích giúp tôi lãi kép được tính như thế nào|Ngày mai ở Đà Nẵng trời có mưa không|Cho tôi công thức nấu phở bò cho bốn người|Vì sao ứng dụng cứ tự thoát mỗi khi mở máy ảnh|Viết giúp tôi email xin sếp nghỉ hai ngày|Đoạn code Python này sai ở chỗ nào vậy|Ngày lễ cửa hàng mở đến mấy giờ",
    "id": "Saya memesan sepatu hari Senin tetapi sampai sekarang belum datang|Tolong jelaskan bagaimana bunga majemuk dihitung|Apakah besok di Bandung akan turun hujan|Saya mau resep rendang untuk empat orang|Kenapa aplikasinya selalu tertutup setiap kali kamera dibuka|Buatkan email kepada atasan untuk minta cuti dua hari|Kode Python ini salahnya di bagian mana ya|Toko buka sampai jam berapa pada hari libur",
    "en": "I ordered shoes on Monday and they have still not arrived|Can you explain how compound interest is worked out|Will it rain in Leeds tomorrow|I would like a stew recipe for four people|Why does the app close whenever I open the camera|Write an email that asks my boss for two days off|Where is the mistake in this Python code|Until what time is the shop open on holidays",
    "zh": "我星期一订的鞋子到现在还没有收到|请解释一下复利是怎么计算的|明天成都会下雨吗|我想要四个人吃的红烧牛肉做法|为什么一打开相机应用就自动退出|帮我写一封邮件向老板请两天假|这段 Python 代码错在哪里|节假日商店开到几点",
    "es": "Pedí unos zapatos el lunes y todavía no han llegado|¿Me explicas cómo se calcula el interés compuesto?|¿Va a llover mañana en Sevilla?|Quiero una receta de lentejas para cuatro personas|¿Por qué se cierra la aplicación cada vez que abro la cámara?|Escribe un correo para pedirle a mi jefa dos días libres|¿Dónde está el error en este código de Python?|¿Hasta qué hora abre la tienda los festivos?",
    "pt": "Encomendei uns sapatos na segunda e ainda não chegaram|Pode explicar como se calculam os juros compostos?|Vai chover amanhã em Curitiba?|Quero uma receita de feijoada para quatro pessoas|Por que o aplicativo fecha toda vez que abro a câmera?|Escreva um e-mail pedindo dois dias de folga à minha chefe|Onde está o erro neste código Python?|Até que horas a loja abre nos feriados?",
    "fr": "J'ai commandé des chaussures lundi et elles ne sont toujours pas arrivées|Peux-tu expliquer comment on calcule les intérêts composés ?|Est-ce qu'il va pleuvoir demain à Lyon ?|Je voudrais une recette de ragoût pour quatre personnes|Pourquoi l'application se ferme-t-elle quand j'ouvre l'appareil photo ?|Écris un courriel pour demander deux jours de congé à ma cheffe|Où est l'erreur dans ce code Python ?|Jusqu'à quelle heure le magasin est-il ouvert les jours fériés ?",
    "de": "Ich habe am Montag Schuhe bestellt und sie sind immer noch nicht da|Kannst du erklären, wie man Zinseszinsen berechnet?|Regnet es morgen in Leipzig?|Ich hätte gern ein Eintopfrezept für vier Personen|Warum schließt sich die App jedes Mal, wenn ich die Kamera öffne?|Schreib eine E-Mail, in der ich meine Chefin um zwei freie Tage bitte|Wo ist der Fehler in diesem Python-Code?|Bis wann hat der Laden an Feiertagen offen?",
}  # fmt: skip
_FEELINGS: Final[dict[str, tuple[str, str, str]]] = {
    "en": (
        "I have been ignored all week|the update made everything worse|what a rude answer|I regret paying for this|it keeps freezing and I am fed up|sad that they closed the old shop",
        "the store moved to Baker Street|I use the blue one at work|which plan includes two users|they open again on Thursday|the file has four columns|he asked for the second page",
        "finally it runs like a dream|what a kind reply|the new design is lovely|you saved my day|I am so proud of my team|can't wait to use it again",
    ),
    "th": (
        "โดนเมินมาทั้งอาทิตย์|อัปเดตแล้วแย่กว่าเดิม|ตอบไม่สุภาพเลย|เสียดายเงินที่จ่ายไป",
        "ร้านย้ายไปถนนสุขุมวิท|แพ็กเกจไหนใช้ได้สองคน|เปิดอีกทีวันพฤหัส|ไฟล์นี้มีสี่คอลัมน์",
        "ใช้งานลื่นมาก ชอบสุดๆ|ตอบน่ารักมาก|ดีไซน์ใหม่สวยจัง|ช่วยชีวิตไว้เลย ขอบคุณนะ",
    ),
    "vi": (
        "tôi bị phớt lờ cả tuần|cập nhật xong còn tệ hơn|trả lời thật thô lỗ|tiếc tiền đã mua",
        "cửa hàng chuyển sang đường Lê Lợi|gói nào dùng cho hai người|thứ năm mở cửa lại|tệp này có bốn cột",
        "chạy mượt quá, thích lắm|trả lời dễ thương ghê|thiết kế mới đẹp thật|bạn cứu tôi rồi, cảm ơn",
    ),
    "zh": (
        "整整一周没人理我|更新以后更难用了|回答太没礼貌|真后悔花这个钱",
        "商店搬到了人民路|哪个套餐可以两个人用|星期四重新开门|这个文件有四列",
        "终于顺畅了，太喜欢了|回复得真贴心|新设计很漂亮|你帮了我大忙，谢谢",
    ),
    "id": (
        "saya diabaikan selama seminggu|setelah diperbarui malah tambah parah|jawabannya kasar sekali|menyesal sudah bayar",
        "tokonya pindah ke Jalan Braga|paket mana yang untuk dua orang|buka lagi hari Kamis|berkas ini punya empat kolom",
        "akhirnya lancar, suka banget|jawabannya ramah sekali|desain barunya cantik|kamu penyelamatku, makasih",
    ),
    "es": (
        "llevan toda la semana ignorándome|con la actualización va peor|qué respuesta tan grosera|me arrepiento de haber pagado",
        "la tienda se mudó a la calle Mayor|qué plan incluye dos usuarios|abren otra vez el jueves|el archivo tiene cuatro columnas",
        "por fin va de lujo|qué respuesta tan amable|el nuevo diseño es precioso|me salvaste el día",
    ),
    "pt": (
        "passei a semana sendo ignorado|depois da atualização ficou pior|que resposta grosseira|me arrependi de pagar por isso",
        "a loja mudou para a rua Augusta|qual plano inclui dois usuários|abrem de novo na quinta|o arquivo tem quatro colunas",
        "finalmente roda que é uma beleza|que resposta gentil|o novo visual ficou lindo|você salvou meu dia",
    ),
    "fr": (
        "on m'ignore depuis une semaine|c'est pire depuis la mise à jour|quelle réponse grossière|je regrette d'avoir payé",
        "le magasin a déménagé rue de Metz|quelle formule comprend deux utilisateurs|ils rouvrent jeudi|le fichier a quatre colonnes",
        "enfin ça tourne à merveille|quelle réponse aimable|le nouveau design est ravissant|vous m'avez sauvé la journée",
    ),
    "de": (
        "seit einer Woche werde ich ignoriert|seit dem Update ist alles schlimmer|was für eine unverschämte Antwort|schade um das Geld",
        "der Laden ist in die Goethestraße umgezogen|welcher Tarif gilt für zwei Nutzer|am Donnerstag ist wieder offen|die Datei hat vier Spalten",
        "endlich läuft es wie am Schnürchen|was für eine nette Antwort|das neue Design ist wunderschön|du hast meinen Tag gerettet",
    ),
}  # fmt: skip
SENTIMENTS: Final = ("negative", "neutral", "positive")


def short_phrases() -> list[tuple[str, str]]:
    """Return phrases of at most three words with their language, 30 a language."""
    return [(text, language) for language, some in _SHORT.items() for text in some.split("|")]


def sentences() -> list[tuple[str, str]]:
    """Return requests of chats with their language, eight a language."""
    return [(text, language) for language, some in _SENTENCES.items() for text in some.split("|")]


def feelings() -> list[tuple[str, str, str]]:
    """Return text, sentiment and language: four texts of each in each language, English six."""
    return [
        (text, sentiment, language)
        for language, some in _FEELINGS.items()
        for sentiment, texts in zip(SENTIMENTS, some, strict=True)
        for text in texts.split("|")
    ]
