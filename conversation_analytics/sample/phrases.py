# ruff: noqa: RUF001, E501 - Chinese punctuation is meant; a sentence stays on one line
"""Phrase templates of the sample traffic, in nine languages, written for this project.

Slots: `{order}` an order number, `{city}` a city, `{mail}` an address at example.com,
`{days}` a small number, `{phone}` a made-up telephone number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Theme:
    """What people ask about one thing, and what they are told."""

    queries: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Language:
    """The phrases of one language.

    Attributes:
        themes: by theme name; every language has every theme.
        follow_ups: what a user writes next, whatever the theme.
        short: very short turns.
        tips: sentences that make an answer longer.
        characters_per_token: to estimate tokens from text.
    """

    themes: dict[str, Theme]
    follow_ups: tuple[str, ...]
    short: tuple[str, ...]
    tips: tuple[str, ...]
    characters_per_token: float = 4.0


THEMES = ("orders", "refunds", "passwords", "coding", "travel", "health", "smalltalk")
CITIES = (
    "Bangkok", "Hanoi", "Lisbon", "Jakarta", "Madrid", "Berlin", "Lyon", "São Paulo", "Chengdu",
    "Osaka", "Denver", "Nairobi",
)  # fmt: skip
CODE = (
    '```python\ndef total(rows):\n    return sum(row["price"] for row in rows)\n```',
    "```sql\nSELECT day, count(*) FROM orders\nGROUP BY day ORDER BY day;\n```",
    "```bash\ngit fetch origin\ngit rebase origin/main\n```",
    "```js\nconst byId = new Map(items.map((item) => [item.id, item]));\n```",
)
EMOJI = ("🙂", "🙏", "👍", "😅", "🎉", "😢")

LANGUAGES: dict[str, Language] = {
    "en": Language(
        themes={
            "orders": Theme(
                (
                    "Where is my order {order}? It should have been here {days} days ago.",
                    "Can I change the delivery address of order {order} to {city}?",
                    "The tracking page for {order} has not moved since Monday.",
                    "My parcel arrived but one of the items is missing, order {order}.",
                    "How long does shipping to {city} normally take?",
                ),
                (
                    "Your order {order} left our warehouse and should reach you within {days} days.",
                    "I have looked up {order}: the parcel is with the carrier in {city} and will be delivered next.",
                    "The address can be changed until the parcel is packed. I have noted the new address for {order}.",
                    "I am sorry about the missing item. A replacement for order {order} goes out tomorrow at no cost.",
                ),
            ),
            "refunds": Theme(
                (
                    "I would like a refund for order {order}, the jacket is too small.",
                    "I was charged twice this month, can you return one payment?",
                    "How many days do I have to send something back?",
                    "You promised my money back {days} days ago and nothing has arrived. This is really annoying!",
                ),
                (
                    "I have started the refund for {order}. The money is back on your card in {days} working days.",
                    "You can return anything unused within 30 days; the return label is on its way to {mail}.",
                    "I can see the duplicate payment and have cancelled it. I apologise for the trouble.",
                    "This needs a person to decide, so I am handing you over to a human agent now.",
                ),
            ),
            "passwords": Theme(
                (
                    "I forgot my password and the reset mail never arrives at {mail}.",
                    "My account is locked after too many attempts, please help.",
                    "How do I switch on two-factor login?",
                    "The verification code sent to {phone} does not work.",
                ),
                (
                    "I have sent a new reset link to {mail}; it is valid for {days} hours. Please check the spam folder too.",
                    "Your account is unlocked again. Choose a new password with at least twelve characters.",
                    "Open Settings, then Security, and scan the code with your authenticator app.",
                ),
            ),
            "coding": Theme(
                (
                    "Why does my loop skip every second element when I delete while iterating?",
                    "Write a function that adds up the prices in a list of rows.",
                    "How do I count orders per day in SQL?",
                    "My build fails with 'module not found' although the package is installed.",
                    "Explain the difference between a process and a thread, please.",
                    "Can you review this?\n```python\nfor x in xs:\n    xs.remove(x)\n```",
                ),
                (
                    "You change the list while you walk over it, so the index moves on. Build a new list instead:",
                    "Group by the day and count; an index on the date column keeps it fast:",
                    "The package is probably in another environment. Compare the interpreter's path with the one pip used.",
                    "A process has its own memory, threads share one. Threads are cheaper, processes are safer.",
                    "Here is a short version that does what you describe:",
                ),
            ),
            "travel": Theme(
                (
                    "What should I see in {city} with {days} days and two kids?",
                    "Is it cheaper to fly or take the train to {city} in May?",
                    "Do I need a visa for {city} if I only change planes?",
                    "Find me a quiet hotel near the station in {city}.",
                ),
                (
                    "For {days} days in {city} I would plan one museum, one park and one free afternoon each day.",
                    "The train to {city} takes longer but is usually cheaper when booked {days} weeks ahead.",
                    "For a change of planes you usually stay in the transit zone; please check with your airline.",
                    "There are several quiet hotels within ten minutes of the station in {city}.",
                ),
            ),
            "health": Theme(
                (
                    "I have had a headache for {days} days, what could help?",
                    "How much water should I drink when I run a lot?",
                    "Which exercises are good against back pain from sitting?",
                    "I sleep badly before exams. Any advice?",
                ),
                (
                    "Rest, water and fresh air often help with a headache. If it lasts more than {days} days, please see a doctor.",
                    "About half a litre for each hour of running is a good start, more when it is hot.",
                    "Stand up every hour, stretch your hips, and walk for {days} minutes after lunch.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Hi there, how are you today?",
                    "Tell me something nice about {city}.",
                    "Are you a robot or a person?",
                    "I am bored. Do you know a good joke?",
                ),
                (
                    "Hello! I am doing well, thank you. What can I do for you today?",
                    "I am a program, but I will do my best to help you.",
                    "People say that the evenings in {city} are the best part of the day.",
                ),
            ),
        },
        follow_ups=(
            "Thanks, that helps. And what happens next?",
            "Sorry, I did not understand the last part.",
            "That did not work, I still see the same problem.",
            "Could you send that to {mail} as well?",
            "Great, thank you very much!",
            "Can you make it shorter, please?",
        ),
        short=("ok", "yes", "no", "thanks", "hm?", "👍", "hello", "sure"),
        tips=(
            "Let me know if anything is unclear.",
            "You can also write to {mail} and quote this conversation.",
            "If it happens again, a screenshot would help us to find the cause.",
            "First check that you are signed in, then repeat the last step, and wait a minute before you try again.",
            "Most people find it easiest to do this on a computer rather than on the phone.",
        ),
    ),
    "th": Language(
        themes={
            "orders": Theme(
                (
                    "คำสั่งซื้อ {order} ของฉันอยู่ที่ไหนแล้วคะ",
                    "ขอเปลี่ยนที่อยู่จัดส่งของออเดอร์ {order} เป็น {city} ได้ไหมครับ",
                    "พัสดุมาถึงแล้วแต่สินค้าขาดหนึ่งชิ้น หมายเลข {order}",
                ),
                (
                    "คำสั่งซื้อ {order} ออกจากคลังแล้ว จะถึงภายใน {days} วันค่ะ",
                    "ตรวจสอบแล้ว พัสดุ {order} อยู่ระหว่างการจัดส่งค่ะ",
                ),
            ),
            "refunds": Theme(
                (
                    "อยากขอคืนเงินสำหรับคำสั่งซื้อ {order} เพราะเสื้อเล็กเกินไป",
                    "ถูกตัดเงินสองครั้ง ช่วยคืนเงินหนึ่งยอดได้ไหม",
                    "รอเงินคืนมา {days} วันแล้วยังไม่ได้เลย แย่มาก",
                ),
                (
                    "ดำเนินการคืนเงินของ {order} แล้ว เงินจะเข้าบัญชีภายใน {days} วันทำการค่ะ",
                    "สามารถส่งคืนสินค้าที่ยังไม่ใช้ได้ภายใน 30 วันค่ะ",
                ),
            ),
            "passwords": Theme(
                (
                    "ลืมรหัสผ่านและไม่ได้รับอีเมลที่ {mail}",
                    "บัญชีถูกล็อก เข้าสู่ระบบไม่ได้ ช่วยด้วยครับ",
                ),
                (
                    "ส่งลิงก์ตั้งรหัสผ่านใหม่ไปที่ {mail} แล้วค่ะ กรุณาตรวจสอบกล่องจดหมายขยะด้วย",
                    "ปลดล็อกบัญชีให้แล้วค่ะ กรุณาตั้งรหัสผ่านใหม่ที่ยาวอย่างน้อยสิบสองตัวอักษร",
                ),
            ),
            "coding": Theme(
                (
                    "เขียนฟังก์ชันรวมราคาจากรายการให้หน่อย",
                    "โค้ดของฉันขึ้นว่าไม่พบโมดูล ทั้งที่ติดตั้งแล้ว",
                ),
                (
                    "ลองใช้โค้ดสั้น ๆ ต่อไปนี้ได้เลยค่ะ",
                    "แพ็กเกจน่าจะอยู่คนละสภาพแวดล้อม ลองตรวจสอบเส้นทางของตัวแปลภาษาค่ะ",
                ),
            ),
            "travel": Theme(
                (
                    "มีเวลา {days} วันใน {city} ควรไปเที่ยวที่ไหนดี",
                    "ช่วยหาโรงแรมเงียบ ๆ ใกล้สถานีใน {city} หน่อยค่ะ",
                ),
                (
                    "ถ้ามีเวลา {days} วันใน {city} แนะนำให้ไปพิพิธภัณฑ์ สวนสาธารณะ และตลาดค่ะ",
                    "มีโรงแรมเงียบ ๆ หลายแห่งใกล้สถานีใน {city} เดินประมาณสิบนาทีค่ะ",
                ),
            ),
            "health": Theme(
                (
                    "ปวดหัวมา {days} วันแล้ว ควรทำอย่างไรดี",
                    "นั่งทำงานนานแล้วปวดหลัง มีท่าบริหารไหมคะ",
                ),
                (
                    "พักผ่อน ดื่มน้ำ และรับอากาศบริสุทธิ์ ถ้าไม่ดีขึ้นควรไปพบแพทย์ค่ะ",
                    "ลุกขึ้นยืนทุกชั่วโมงและยืดกล้ามเนื้อสะโพกค่ะ",
                ),
            ),
            "smalltalk": Theme(
                ("สวัสดีค่ะ วันนี้เป็นอย่างไรบ้าง", "คุณเป็นหุ่นยนต์หรือคนจริง ๆ", "เล่าเรื่องตลกให้ฟังหน่อยสิ"),
                ("สวัสดีค่ะ ยินดีให้บริการ มีอะไรให้ช่วยไหมคะ", "ฉันเป็นโปรแกรม แต่จะพยายามช่วยเต็มที่ค่ะ"),
            ),
        },
        follow_ups=(
            "ขอบคุณค่ะ แล้วต้องทำอะไรต่อไป",
            "ยังไม่ได้ผลเลย ปัญหาเดิม",
            "ช่วยส่งไปที่ {mail} ด้วยได้ไหม",
            "ไม่เข้าใจส่วนสุดท้าย อธิบายอีกครั้งได้ไหม",
        ),
        short=("โอเค", "ครับ", "ค่ะ", "ขอบคุณ", "ใช่", "ไม่"),
        tips=(
            "ถ้ามีข้อสงสัยเพิ่มเติมสอบถามได้เลยค่ะ",
            "สามารถส่งอีเมลถึง {mail} ได้เช่นกันค่ะ",
            "ถ้าเกิดขึ้นอีก ช่วยส่งภาพหน้าจอมาให้เราด้วยนะคะ",
        ),
        characters_per_token=2.2,
    ),
    "vi": Language(
        themes={
            "orders": Theme(
                (
                    "Đơn hàng {order} của tôi đang ở đâu rồi?",
                    "Tôi muốn đổi địa chỉ giao hàng của đơn {order} sang {city} được không?",
                    "Tôi nhận được hàng rồi nhưng thiếu một món, mã {order}.",
                ),
                (
                    "Đơn hàng {order} đã rời kho và sẽ đến trong {days} ngày nữa.",
                    "Tôi đã kiểm tra, kiện hàng {order} đang được giao ở {city}.",
                ),
            ),
            "refunds": Theme(
                (
                    "Tôi muốn hoàn tiền cho đơn {order} vì áo quá nhỏ.",
                    "Tôi bị trừ tiền hai lần, xin trả lại một khoản.",
                    "Tôi đã chờ hoàn tiền {days} ngày mà chưa thấy gì, thật thất vọng.",
                ),
                (
                    "Tôi đã tạo yêu cầu hoàn tiền cho {order}, tiền sẽ về trong {days} ngày làm việc.",
                    "Bạn có thể trả lại hàng chưa sử dụng trong vòng 30 ngày.",
                ),
            ),
            "passwords": Theme(
                (
                    "Tôi quên mật khẩu và không nhận được thư ở {mail}.",
                    "Tài khoản của tôi bị khóa, làm sao đăng nhập lại?",
                ),
                (
                    "Tôi đã gửi liên kết đặt lại mật khẩu đến {mail}, hãy xem cả hộp thư rác.",
                    "Tài khoản đã được mở khóa, hãy chọn mật khẩu mới dài ít nhất mười hai ký tự.",
                ),
            ),
            "coding": Theme(
                (
                    "Viết giúp tôi một hàm cộng giá của các dòng.",
                    "Tại sao chương trình báo không tìm thấy mô-đun dù tôi đã cài đặt?",
                ),
                (
                    "Đây là một đoạn mã ngắn làm đúng điều bạn cần:",
                    "Có lẽ gói nằm trong môi trường khác, hãy so sánh đường dẫn của trình thông dịch.",
                ),
            ),
            "travel": Theme(
                (
                    "Tôi có {days} ngày ở {city}, nên đi đâu chơi?",
                    "Tìm giúp tôi khách sạn yên tĩnh gần ga ở {city}.",
                ),
                (
                    "Với {days} ngày ở {city}, bạn nên thăm bảo tàng, công viên và chợ đêm.",
                    "Có vài khách sạn yên tĩnh gần ga ở {city}, đi bộ khoảng mười phút.",
                ),
            ),
            "health": Theme(
                (
                    "Tôi bị đau đầu {days} ngày nay, phải làm sao?",
                    "Ngồi nhiều bị đau lưng thì nên tập bài gì?",
                ),
                (
                    "Hãy nghỉ ngơi, uống nước và hít thở không khí trong lành; nếu kéo dài hãy đi khám bác sĩ.",
                    "Hãy đứng dậy mỗi giờ và giãn cơ hông nhẹ nhàng.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Xin chào, hôm nay bạn thế nào?",
                    "Bạn là người hay là máy vậy?",
                    "Kể cho tôi nghe một chuyện vui đi.",
                ),
                (
                    "Xin chào! Tôi có thể giúp gì cho bạn hôm nay?",
                    "Tôi là một chương trình nhưng sẽ cố gắng giúp bạn.",
                ),
            ),
        },
        follow_ups=(
            "Cảm ơn, vậy bước tiếp theo là gì?",
            "Vẫn không được, lỗi như cũ.",
            "Bạn gửi thêm đến {mail} được không?",
            "Tôi chưa hiểu phần cuối, giải thích lại giúp tôi.",
        ),
        short=("ok", "vâng", "không", "cảm ơn", "dạ", "ừ"),
        tips=(
            "Nếu có gì chưa rõ, bạn cứ hỏi nhé.",
            "Bạn cũng có thể viết thư tới {mail}.",
            "Nếu lỗi xảy ra lần nữa, hãy gửi cho chúng tôi ảnh chụp màn hình.",
        ),
        characters_per_token=3.0,
    ),
    "zh": Language(
        themes={
            "orders": Theme(
                (
                    "我的订单{order}现在到哪里了？",
                    "订单{order}的收货地址可以改到{city}吗？",
                    "包裹收到了，但是少了一件商品，订单号{order}。",
                ),
                (
                    "您的订单{order}已经出库，预计{days}天内送达。",
                    "已为您查询，包裹{order}正在派送途中。",
                ),
            ),
            "refunds": Theme(
                (
                    "订单{order}的衣服太小了，我想申请退款。",
                    "这个月扣了我两次钱，能退一笔吗？",
                    "说好的退款等了{days}天还没到，太让人失望了！",
                ),
                (
                    "订单{order}的退款已经提交，{days}个工作日内退回您的账户。",
                    "未使用的商品三十天内都可以退货。",
                ),
            ),
            "passwords": Theme(
                ("我忘记密码了，{mail}也收不到重置邮件。", "账号被锁定了，怎么登录？"),
                (
                    "重置链接已经发送到{mail}，请同时查看垃圾邮件。",
                    "账号已经解锁，请设置至少十二位的新密码。",
                ),
            ),
            "coding": Theme(
                (
                    "请写一个函数，把列表里的价格加起来。",
                    "为什么已经安装了包，运行时还是提示找不到模块？",
                    "进程和线程有什么区别？",
                ),
                (
                    "下面这段简短的代码可以实现您的需求：",
                    "这个包可能装在另一个环境里，请比较解释器的路径。",
                    "进程有独立的内存，线程共享内存；线程更轻，进程更安全。",
                ),
            ),
            "travel": Theme(
                (
                    "我在{city}有{days}天时间，去哪里玩比较好？",
                    "请帮我找{city}车站附近安静的酒店。",
                ),
                (
                    "{city}玩{days}天的话，推荐参观博物馆、公园和夜市。",
                    "{city}车站附近有几家安静的酒店，步行大约十分钟。",
                ),
            ),
            "health": Theme(
                ("我头疼{days}天了，应该怎么办？", "久坐腰疼，做什么运动比较好？"),
                (
                    "请多休息、多喝水、呼吸新鲜空气，如果没有好转请去看医生。",
                    "每小时站起来活动一下，拉伸髋部肌肉。",
                ),
            ),
            "smalltalk": Theme(
                ("你好，今天过得怎么样？", "你是机器人还是真人？", "给我讲个笑话吧。"),
                ("您好！很高兴为您服务，请问有什么可以帮您？", "我是一个程序，但我会尽力帮助您。"),
            ),
        },
        follow_ups=(
            "谢谢，那下一步该做什么？",
            "还是不行，问题跟刚才一样。",
            "可以也发到{mail}吗？",
            "最后一部分我没看懂，请再解释一下。",
        ),
        short=("好的", "嗯", "谢谢", "是", "不是", "哦"),
        tips=(
            "如果还有疑问，请随时告诉我。",
            "您也可以发邮件到{mail}。",
            "如果再次出现这个问题，请把截图发给我们。",
        ),
        characters_per_token=1.3,
    ),
    "id": Language(
        themes={
            "orders": Theme(
                (
                    "Pesanan saya {order} sudah sampai mana?",
                    "Apakah alamat pengiriman pesanan {order} bisa diganti ke {city}?",
                    "Paket sudah datang tetapi ada satu barang yang kurang, nomor {order}.",
                ),
                (
                    "Pesanan {order} sudah keluar dari gudang dan akan tiba dalam {days} hari.",
                    "Sudah saya periksa, paket {order} sedang diantar ke {city}.",
                ),
            ),
            "refunds": Theme(
                (
                    "Saya mau minta pengembalian uang untuk pesanan {order} karena jaketnya terlalu kecil.",
                    "Saya ditagih dua kali bulan ini, tolong kembalikan satu pembayaran.",
                    "Sudah {days} hari uang saya belum kembali, saya kecewa sekali.",
                ),
                (
                    "Pengembalian dana untuk {order} sudah diproses, uangnya masuk dalam {days} hari kerja.",
                    "Barang yang belum dipakai bisa dikembalikan dalam 30 hari.",
                ),
            ),
            "passwords": Theme(
                (
                    "Saya lupa kata sandi dan surel ke {mail} tidak pernah datang.",
                    "Akun saya terkunci, bagaimana cara masuk lagi?",
                ),
                (
                    "Tautan untuk mengatur ulang kata sandi sudah dikirim ke {mail}, periksa juga folder spam.",
                    "Akun Anda sudah dibuka, silakan pilih kata sandi baru minimal dua belas karakter.",
                ),
            ),
            "coding": Theme(
                (
                    "Tolong buatkan fungsi untuk menjumlahkan harga dalam daftar.",
                    "Kenapa program saya bilang modul tidak ditemukan padahal sudah dipasang?",
                ),
                (
                    "Berikut contoh kode singkat yang bisa dipakai:",
                    "Paketnya mungkin terpasang di lingkungan lain, coba bandingkan jalur interpreternya.",
                ),
            ),
            "travel": Theme(
                (
                    "Saya punya {days} hari di {city}, sebaiknya pergi ke mana?",
                    "Carikan hotel yang tenang dekat stasiun di {city}.",
                ),
                (
                    "Untuk {days} hari di {city}, kunjungi museum, taman kota, dan pasar malam.",
                    "Ada beberapa hotel tenang dekat stasiun di {city}, kira-kira sepuluh menit jalan kaki.",
                ),
            ),
            "health": Theme(
                (
                    "Kepala saya sakit sudah {days} hari, apa yang harus saya lakukan?",
                    "Olahraga apa yang baik untuk sakit punggung karena duduk terus?",
                ),
                (
                    "Istirahatlah, minum air putih, dan hirup udara segar; kalau tidak membaik, pergilah ke dokter.",
                    "Berdirilah setiap jam dan regangkan pinggul Anda.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Halo, apa kabar hari ini?",
                    "Kamu robot atau manusia?",
                    "Ceritakan sesuatu yang lucu dong.",
                ),
                (
                    "Halo! Ada yang bisa saya bantu hari ini?",
                    "Saya hanya program, tetapi saya akan berusaha membantu.",
                ),
            ),
        },
        follow_ups=(
            "Terima kasih, lalu langkah berikutnya apa?",
            "Masih belum bisa, masalahnya sama.",
            "Bisa dikirim ke {mail} juga?",
            "Saya tidak mengerti bagian terakhir, tolong jelaskan lagi.",
        ),
        short=("oke", "ya", "tidak", "makasih", "sip", "baik"),
        tips=(
            "Kalau ada yang kurang jelas, silakan tanya lagi.",
            "Anda juga bisa menulis ke {mail}.",
            "Jika terjadi lagi, tolong kirimkan tangkapan layar kepada kami.",
        ),
    ),
    "es": Language(
        themes={
            "orders": Theme(
                (
                    "¿Dónde está mi pedido {order}? Debía llegar hace {days} días.",
                    "¿Puedo cambiar la dirección de entrega del pedido {order} a {city}?",
                    "El paquete llegó, pero falta un artículo, número {order}.",
                ),
                (
                    "Su pedido {order} ya salió del almacén y llegará en {days} días.",
                    "Lo he comprobado: el paquete {order} está en reparto en {city}.",
                ),
            ),
            "refunds": Theme(
                (
                    "Quiero el reembolso del pedido {order}, la chaqueta me queda pequeña.",
                    "Me cobraron dos veces este mes, ¿pueden devolverme un pago?",
                    "Llevo {days} días esperando mi dinero, es un servicio pésimo.",
                ),
                (
                    "He iniciado el reembolso de {order}; recibirá el dinero en {days} días hábiles.",
                    "Puede devolver cualquier artículo sin usar durante 30 días.",
                ),
            ),
            "passwords": Theme(
                (
                    "Olvidé mi contraseña y el correo no llega a {mail}.",
                    "Mi cuenta está bloqueada, ¿cómo puedo entrar?",
                ),
                (
                    "He enviado un enlace nuevo a {mail}; mire también en la carpeta de correo no deseado.",
                    "Su cuenta ya está desbloqueada. Elija una contraseña de al menos doce caracteres.",
                ),
            ),
            "coding": Theme(
                (
                    "Escribe una función que sume los precios de una lista.",
                    "¿Por qué dice que no encuentra el módulo si ya lo instalé?",
                ),
                (
                    "Aquí tiene una versión corta que hace lo que pide:",
                    "Seguramente el paquete está en otro entorno; compare la ruta del intérprete.",
                ),
            ),
            "travel": Theme(
                (
                    "Tengo {days} días en {city}, ¿qué me recomiendas visitar?",
                    "Busca un hotel tranquilo cerca de la estación de {city}.",
                ),
                (
                    "Con {days} días en {city} yo vería un museo, un parque y el mercado.",
                    "Hay varios hoteles tranquilos a diez minutos de la estación de {city}.",
                ),
            ),
            "health": Theme(
                (
                    "Me duele la cabeza desde hace {days} días, ¿qué puedo hacer?",
                    "¿Qué ejercicios ayudan con el dolor de espalda por estar sentado?",
                ),
                (
                    "Descanse, beba agua y tome aire fresco; si no mejora, consulte a su médico.",
                    "Levántese cada hora y estire las caderas con suavidad.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Hola, ¿qué tal estás hoy?",
                    "¿Eres un robot o una persona?",
                    "Estoy aburrida, cuéntame un chiste.",
                ),
                (
                    "¡Hola! Estoy aquí para ayudarle. ¿Qué necesita hoy?",
                    "Soy un programa, pero haré todo lo posible por ayudarle.",
                ),
            ),
        },
        follow_ups=(
            "Gracias, ¿y cuál es el siguiente paso?",
            "Sigue sin funcionar, es el mismo problema.",
            "¿Puede enviarlo también a {mail}?",
            "No entendí la última parte, ¿me lo explica otra vez?",
        ),
        short=("ok", "sí", "no", "gracias", "vale", "claro"),
        tips=(
            "Dígame si algo no queda claro.",
            "También puede escribir a {mail}.",
            "Si vuelve a pasar, una captura de pantalla nos ayudaría a encontrar la causa.",
        ),
    ),
    "pt": Language(
        themes={
            "orders": Theme(
                (
                    "Onde está o meu pedido {order}? Já devia ter chegado há {days} dias.",
                    "Posso mudar o endereço de entrega do pedido {order} para {city}?",
                    "A encomenda chegou, mas falta um produto, número {order}.",
                ),
                (
                    "O seu pedido {order} já saiu do armazém e chega em {days} dias.",
                    "Verifiquei: a encomenda {order} está a caminho de {city}.",
                ),
            ),
            "refunds": Theme(
                (
                    "Quero o reembolso do pedido {order}, o casaco ficou pequeno.",
                    "Fui cobrado duas vezes neste mês, podem devolver um pagamento?",
                    "Espero o meu dinheiro há {days} dias e nada, que péssimo atendimento.",
                ),
                (
                    "Já iniciei o reembolso de {order}; o dinheiro volta em {days} dias úteis.",
                    "Você pode devolver produtos não usados em até 30 dias.",
                ),
            ),
            "passwords": Theme(
                (
                    "Esqueci a minha senha e o e-mail não chega em {mail}.",
                    "A minha conta está bloqueada, como faço para entrar?",
                ),
                (
                    "Enviei um novo link para {mail}; veja também a caixa de spam.",
                    "A sua conta foi desbloqueada. Escolha uma senha com pelo menos doze caracteres.",
                ),
            ),
            "coding": Theme(
                (
                    "Escreva uma função que some os preços de uma lista.",
                    "Por que aparece que o módulo não foi encontrado se já instalei?",
                ),
                (
                    "Aqui está uma versão curta que faz o que você descreve:",
                    "O pacote deve estar em outro ambiente; compare o caminho do interpretador.",
                ),
            ),
            "travel": Theme(
                (
                    "Tenho {days} dias em {city}, o que devo visitar?",
                    "Procure um hotel tranquilo perto da estação em {city}.",
                ),
                (
                    "Com {days} dias em {city}, eu visitaria um museu, um parque e o mercado.",
                    "Há vários hotéis tranquilos a dez minutos da estação de {city}.",
                ),
            ),
            "health": Theme(
                (
                    "Estou com dor de cabeça há {days} dias, o que posso fazer?",
                    "Que exercícios ajudam na dor nas costas de quem fica muito sentado?",
                ),
                (
                    "Descanse, beba água e respire ar fresco; se não melhorar, procure um médico.",
                    "Levante-se a cada hora e alongue o quadril com calma.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Oi, tudo bem com você hoje?",
                    "Você é um robô ou uma pessoa?",
                    "Conta uma piada, estou entediado.",
                ),
                (
                    "Olá! Estou aqui para ajudar. Do que você precisa hoje?",
                    "Sou um programa, mas vou fazer o possível para ajudar.",
                ),
            ),
        },
        follow_ups=(
            "Obrigada, e qual é o próximo passo?",
            "Ainda não funciona, é o mesmo problema.",
            "Pode enviar também para {mail}?",
            "Não entendi a última parte, pode explicar de novo?",
        ),
        short=("ok", "sim", "não", "obrigado", "certo", "beleza"),
        tips=(
            "Se algo não ficou claro, é só perguntar.",
            "Você também pode escrever para {mail}.",
            "Se acontecer de novo, uma captura de tela ajuda a encontrar a causa.",
        ),
    ),
    "fr": Language(
        themes={
            "orders": Theme(
                (
                    "Où est ma commande {order} ? Elle devait arriver il y a {days} jours.",
                    "Puis-je changer l'adresse de livraison de la commande {order} pour {city} ?",
                    "Le colis est arrivé, mais il manque un article, numéro {order}.",
                ),
                (
                    "Votre commande {order} a quitté l'entrepôt et arrivera dans {days} jours.",
                    "J'ai vérifié : le colis {order} est en cours de livraison à {city}.",
                ),
            ),
            "refunds": Theme(
                (
                    "Je voudrais le remboursement de la commande {order}, la veste est trop petite.",
                    "J'ai été débité deux fois ce mois-ci, pouvez-vous rendre un paiement ?",
                    "J'attends mon argent depuis {days} jours, c'est vraiment décevant.",
                ),
                (
                    "J'ai lancé le remboursement de {order} ; vous le recevrez sous {days} jours ouvrés.",
                    "Vous pouvez renvoyer tout article non utilisé pendant 30 jours.",
                ),
            ),
            "passwords": Theme(
                (
                    "J'ai oublié mon mot de passe et rien n'arrive à {mail}.",
                    "Mon compte est bloqué, comment puis-je me connecter ?",
                ),
                (
                    "Un nouveau lien est parti vers {mail} ; regardez aussi dans les indésirables.",
                    "Votre compte est débloqué. Choisissez un mot de passe d'au moins douze caractères.",
                ),
            ),
            "coding": Theme(
                (
                    "Écris une fonction qui additionne les prix d'une liste.",
                    "Pourquoi le module est-il introuvable alors que je l'ai installé ?",
                ),
                (
                    "Voici une version courte qui fait ce que vous décrivez :",
                    "Le paquet est sans doute dans un autre environnement ; comparez le chemin de l'interpréteur.",
                ),
            ),
            "travel": Theme(
                (
                    "J'ai {days} jours à {city}, que me conseillez-vous de voir ?",
                    "Trouve un hôtel calme près de la gare à {city}.",
                ),
                (
                    "Avec {days} jours à {city}, je verrais un musée, un parc et le marché.",
                    "Il y a plusieurs hôtels calmes à dix minutes de la gare de {city}.",
                ),
            ),
            "health": Theme(
                (
                    "J'ai mal à la tête depuis {days} jours, que faire ?",
                    "Quels exercices contre le mal de dos quand on reste assis ?",
                ),
                (
                    "Reposez-vous, buvez de l'eau et prenez l'air ; si cela dure, consultez un médecin.",
                    "Levez-vous toutes les heures et étirez doucement les hanches.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Bonjour, comment allez-vous aujourd'hui ?",
                    "Tu es un robot ou une personne ?",
                    "Raconte-moi une blague, je m'ennuie.",
                ),
                (
                    "Bonjour ! Je suis là pour vous aider. De quoi avez-vous besoin ?",
                    "Je suis un programme, mais je ferai de mon mieux.",
                ),
            ),
        },
        follow_ups=(
            "Merci, et quelle est la prochaine étape ?",
            "Cela ne marche toujours pas, même problème.",
            "Pouvez-vous l'envoyer aussi à {mail} ?",
            "Je n'ai pas compris la fin, pouvez-vous expliquer encore ?",
        ),
        short=("ok", "oui", "non", "merci", "d'accord", "super"),
        tips=(
            "Dites-moi si quelque chose n'est pas clair.",
            "Vous pouvez aussi écrire à {mail}.",
            "Si cela se reproduit, une capture d'écran nous aiderait à trouver la cause.",
        ),
    ),
    "de": Language(
        themes={
            "orders": Theme(
                (
                    "Wo bleibt meine Bestellung {order}? Sie sollte vor {days} Tagen da sein.",
                    "Kann ich die Lieferadresse der Bestellung {order} auf {city} ändern?",
                    "Das Paket ist da, aber ein Artikel fehlt, Nummer {order}.",
                ),
                (
                    "Ihre Bestellung {order} hat das Lager verlassen und kommt in {days} Tagen an.",
                    "Ich habe nachgesehen: Das Paket {order} wird gerade in {city} zugestellt.",
                ),
            ),
            "refunds": Theme(
                (
                    "Ich möchte das Geld für die Bestellung {order} zurück, die Jacke ist zu klein.",
                    "Mir wurde diesen Monat zweimal etwas abgebucht, bitte eine Zahlung erstatten.",
                    "Seit {days} Tagen warte ich auf mein Geld, das ist wirklich ärgerlich!",
                ),
                (
                    "Die Erstattung für {order} ist unterwegs; das Geld ist in {days} Werktagen auf dem Konto.",
                    "Unbenutzte Ware können Sie innerhalb von 30 Tagen zurückgeben.",
                ),
            ),
            "passwords": Theme(
                (
                    "Ich habe mein Passwort vergessen und an {mail} kommt keine Nachricht an.",
                    "Mein Konto ist gesperrt, wie komme ich wieder hinein?",
                ),
                (
                    "Ein neuer Link ist an {mail} unterwegs; bitte schauen Sie auch in den Spamordner.",
                    "Ihr Konto ist wieder frei. Bitte wählen Sie ein Passwort mit mindestens zwölf Zeichen.",
                ),
            ),
            "coding": Theme(
                (
                    "Schreib mir eine Funktion, die die Preise einer Liste addiert.",
                    "Warum wird das Modul nicht gefunden, obwohl ich es installiert habe?",
                ),
                (
                    "Hier ist eine kurze Fassung, die das Gewünschte tut:",
                    "Das Paket liegt vermutlich in einer anderen Umgebung; vergleichen Sie den Pfad des Interpreters.",
                ),
            ),
            "travel": Theme(
                (
                    "Ich habe {days} Tage in {city}, was sollte ich ansehen?",
                    "Such mir ein ruhiges Hotel in der Nähe des Bahnhofs in {city}.",
                ),
                (
                    "Für {days} Tage in {city} würde ich ein Museum, einen Park und den Markt einplanen.",
                    "Es gibt einige ruhige Hotels, zehn Minuten vom Bahnhof in {city} entfernt.",
                ),
            ),
            "health": Theme(
                (
                    "Ich habe seit {days} Tagen Kopfschmerzen, was kann ich tun?",
                    "Welche Übungen helfen gegen Rückenschmerzen vom Sitzen?",
                ),
                (
                    "Ruhe, Wasser und frische Luft helfen oft; wenn es nicht besser wird, gehen Sie bitte zum Arzt.",
                    "Stehen Sie jede Stunde auf und dehnen Sie die Hüfte.",
                ),
            ),
            "smalltalk": Theme(
                (
                    "Hallo, wie geht es dir heute?",
                    "Bist du ein Roboter oder ein Mensch?",
                    "Mir ist langweilig, erzähl mir einen Witz.",
                ),
                (
                    "Hallo! Ich helfe Ihnen gern. Was kann ich heute für Sie tun?",
                    "Ich bin ein Programm, aber ich gebe mir Mühe.",
                ),
            ),
        },
        follow_ups=(
            "Danke, und was ist der nächste Schritt?",
            "Es geht immer noch nicht, dasselbe Problem.",
            "Können Sie das auch an {mail} schicken?",
            "Den letzten Teil habe ich nicht verstanden, bitte noch einmal.",
        ),
        short=("ok", "ja", "nein", "danke", "gut", "klar"),
        tips=(
            "Sagen Sie gern Bescheid, wenn etwas unklar ist.",
            "Sie können auch an {mail} schreiben.",
            "Wenn es wieder passiert, hilft uns ein Bild vom Bildschirm.",
        ),
    ),
}
