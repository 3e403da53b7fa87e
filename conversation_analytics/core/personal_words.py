# ruff: noqa: RUF001, E501 - Chinese punctuation is meant; words of a language stay on a line
"""Words beside a number that say what it is, in the languages of the platform.

A number is often one of several things: nine digits may be a Spanish mobile number, a Portuguese
tax number or an order. People, and forms, put a word before it. The nearest one counts.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Final


class Hint(StrEnum):
    """What a word says of the number after it."""

    PHONE = "phone"
    CARD = "card"
    NATIONAL_ID = "national_id"
    IP = "ip"
    SECRET = "secret"  # noqa: S105 - a kind, no password
    OTHER = "other"
    """An order, a version, an amount, a measure: nothing of a person."""
    MONEY = "money"
    NONE = "none"


_BEFORE: Final = 40  # characters; a form's label, or half a sentence
_AFTER: Final = 18

# Words in letters that stand alone; the others (Thai, Chinese) are found anywhere.
_WORDS: Final = {
    Hint.PHONE: (
        r"tel|tels|telp|telf|telefono|teléfono|telefone|telefon|telephone|téléphone|telepon|fon"
        r"|telefonnummer|rufnummer|handynummer|handy|mobilnummer|mobil|mobile|cell|cellphone|phones?"
        r"|cel|celular|celulares|móvil|movil|telemóvel|telemovel|portable|ponsel|hp|nomor hp|no hp|wa"
        r"|whatsapp|whats|zap|zalo|viber|telegram|signal|sms|fax|call|calling|ring|reach|reached|direct line|text me|dial|the number is|their number|his number|her number|my number|your number|our number|mi número|su número|tu número|meu número|seu número|mon numéro|son numéro|notre numéro|meine nummer|seine nummer|ihre nummer|nomor saya|nomornya|nomor kontak|số của tôi|số của em|số của mình|số tôi|ph|mobil|text"
        r"|llámame|llamame|llame|llamar|llámeme|marque|ligue|ligar|liga|me liga|appelez|appeler|appelle"
        r"|joindre|joignable|rappelez|contact|contacto|contato|kontakt|hubungi|kontak|telpon|telfon"
        r"|anrufen|ruf|rufen|erreichen|erreichbar|erreichst|gọi|liên hệ|điện thoại|đt|sđt|sdt"
        r"|di động|hotline|số máy|numéro de portable|localizável|callback|phone number"
    ),
    Hint.CARD: (
        r"card|cards|visa|mastercard|amex|american express|discover|tarjeta|cartão|cartao|carte"
        r"|kreditkarte|karte|kartennummer|kartu|kartu kredit|thẻ|số thẻ|credit|debit|unionpay"
        r"|carte bancaire|carte bleue|cb"
    ),
    Hint.NATIONAL_ID: (
        r"ssn|social security|itin|nino|ni number|national insurance|nhs|national id|identity card"
        r"|id card|id number|identity number|citizen id|personal id|tax id|taxpayer|dni|nie|nif|cif"
        r"|documento|identidad|identificación|curp|rfc|contribuinte|cartão de cidadão|cc|cpf|cnpj|rg"
        r"|identidade|nir|sécu|sécurité sociale|numéro de sécurité|insee|steuer-?id|steueridnr|idnr"
        r"|steuernummer|steuer-identifikationsnummer|steueridentifikationsnummer|identifikationsnummer"
        r"|nik|ktp|kk|nomor induk|induk kependudukan|cccd|cmnd|căn cước|căn cước công dân"
        r"|chứng minh|chứng minh nhân dân|cmt|số định danh|mã định danh|thai id"
    ),
    Hint.IP: r"ip|ips|nameserver|dns|inet|address|addr|adresse|dirección|endereço|alamat|địa chỉ|máy chủ|ip-adresse|ipv4|ipv6|ping|host|server|servidor|serveur|gateway|ssh",
    Hint.SECRET: (
        r"key|keys|api|apikey|api_key|token|secret|password|passwd|pwd|bearer|credential|credentials"
        r"|authorization|clave|chave|clé|schlüssel|contraseña|senha|passwort|kunci|khóa"
    ),
    Hint.OTHER: (
        r"order|orders|order id|invoice|invoices|receipt|tracking|track|parcel|package|shipment|ticket"
        r"|case|ref|reference|booking|reservation|confirmation|transaction|txn|sku|item|product|serial"
        r"|batch|lot|part|model|isbn|issn|ean|upc|barcode|imei|account|acct|customer number|customer no|member no|membership"
        r"|policy|contract|version|ver|v|rev|kernel|firmware|driver|update|upgrade|release|build|revision|commit|port|pid|error|code|otp|pin|zip"
        r"|date|timestamp|epoch|coordinates|coords|lat|latitude|longitude|lon|lng|gps|section|chapter"
        r"|population|distance|size|bytes|weight|rows?|lines?|records?|order id|user id|session id|request id|message id"
        r"|pedido|pedidos|factura|recibo|seguimiento|rastreo|envío|paquete|referencia|reserva|cuenta"
        r"|versión|fecha|coordenadas|código|número de serie|serie|guía|lote|artículo|expediente|proceso|población"
        r"|encomenda|fatura|nota fiscal|rastreamento|rastreio|protocolo|processo|referência|número de cliente|número de contrato|conta|versão"
        r"|commande|facture|suivi|colis|référence|réservation|compte|dossier|numéro client|numéro de client|numéro de contrat|date"
        r"|coordonnées|numéro de série|réf|bestellung|bestellnummer|bestell-nr|auftrag|auftragsnummer"
        r"|rechnung|rechnungsnummer|sendung|sendungsnummer|sendungsverfolgung|paket|referenz|buchung"
        r"|konto|kundennummer|vorgang|version|datum|koordinaten|seriennummer|artikel"
        r"|artikelnummer|aktenzeichen|pesanan|order|faktur|resi|pengiriman|paket|referensi|pemesanan"
        r"|rekening|versi|tanggal|koordinat|nomor seri|nomor pelanggan|nomor anggota|transaksi|tiket|kode|no resi|invoice"
        r"|đơn hàng|đơn|hóa đơn|vận đơn|mã vận đơn|theo dõi|bưu kiện|tham chiếu|đặt chỗ|tài khoản"
        r"|phiên bản|ngày|tọa độ|mã số|mã khách hàng|mã giao dịch|số sê-ri|giao dịch|mã đơn|mã"
    ),
    Hint.MONEY: (
        r"usd|eur|gbp|thb|vnd|idr|cny|rmb|brl|mxn|rp|rs|baht|dong|price|total|cost|amount|precio|preço"
        r"|importe|valor|prix|montant|preis|betrag|summe|harga|jumlah|giá|số tiền|tổng|total de|r\$"
        r"|euros?|dollars?|reais|pesos?|rupiah|đồng|đ|vnđ"
    ),
}  # fmt: skip
_SIGNS: Final = {
    Hint.PHONE: (
        r"โทรศัพท์|โทร|เบอร์|มือถือ|ติดต่อ|แฟกซ์|电话|手机|手机号|联系|致电|拨打|打给|打我|座机|传真|热线|我的号码|号码是|微信"
        r"|電話|手機|☎|📞|📱|✆"
    ),
    Hint.CARD: r"บัตรเครดิต|บัตรเดบิต|หมายเลขบัตร|เลขบัตร(?!ป)|信用卡|银行卡|借记卡|卡号|信用卡号|刷卡",
    Hint.NATIONAL_ID: (
        r"บัตรประชาชน|บัตรประจำตัว|เลขประจำตัว|เลขบัตรประชาชน|ปชช|เลขที่บัตรประ|เลขผู้เสียภาษี|身份证"
        r"|身份证号|证件号|身份號|公民身份"
    ),
    Hint.IP: r"ไอพี|เซิร์ฟเวอร์|地址|服务器",
    Hint.SECRET: r"รหัสผ่าน|คีย์|โทเคน|密码|密钥|令牌|口令|mật khẩu|kata sandi|mot de passe",
    Hint.OTHER: (
        r"คำสั่งซื้อ|ออเดอร์|ใบสั่ง|ใบแจ้งหนี้|ใบเสร็จ|พัสดุ|ติดตาม|อ้างอิง|การจอง|บัญชี|สมาชิก|เวอร์ชัน|เวอร์ชั่น"
        r"|วันที่|พิกัด|รหัสสินค้า|สินค้า|ซีเรียล|หมายเลขเครื่อง|ธุรกรรม|รหัสลูกค้า|เลขที่สัญญา|รุ่น|订单|单号|快递|运单|发票|收据|工单"
        r"|流水号|交易|参考|编号|客户号|会员号|预订|账号|账户|会员|版本|日期|坐标|序列号|型号|条码|订單|人口|经度|纬度|№"
    ),
    Hint.MONEY: r"ราคา|ยอด|บาท|฿|¥|￥|价格|金额|总计|人民币|\$|€|£|₫|共计",
}  # fmt: skip
_MONEY_AFTER: Final = re.compile(
    r"\s?(?:฿|บาท|元|块|円|₫|đ(?![a-zà-ỹ])|€|£|\$|%|(?:usd|eur|gbp|thb|vnd|vnđ|idr|cny|rmb|brl|mxn"
    r"|euros?|dollars?|reais|pesos?|rupiah|đồng|dong|baht|bytes|kb|mb|km|kg|ms|m²|rows|people|users"
    r"|habitantes|habitants|einwohner|người|jiwa)(?![a-z]))"
)
_LETTERS: Final = r"[^\W\d_]"


def _longest_first(words: str) -> str:
    """Let `order id` win over `order`."""
    return "|".join(sorted(set(words.split("|")), key=lambda word: (-len(word), word)))


def _pattern(hint: Hint) -> str:
    words = rf"(?<!{_LETTERS})(?:{_longest_first(_WORDS[hint])})(?!{_LETTERS})"
    signs = f"|{_longest_first(_SIGNS[hint])}" if hint in _SIGNS else ""
    return f"(?P<{hint}>{words}{signs})"


_ANY: Final = re.compile("|".join(_pattern(hint) for hint in _WORDS))
_SHORT_LIVED: Final = (Hint.OTHER, Hint.MONEY)
_SENTENCE_END: Final = re.compile(r"[a-z]{3}[.!?] |[。！？\n]")
_ENDS: Final = re.compile(r"[,;.!?、，。；\n]")
_CUT_START: Final = re.compile(r"^[a-z]+")


def hint_at(text: str, start: int, end: int) -> Hint:
    """Return what the nearest word says of `text[start:end]`; words before it go first.

    Args:
        text: any text; a private-use character stands for what was found already.
        start: of the number.
        end: of the number.
    """
    after = _folded(text[end : end + _AFTER])
    if _MONEY_AFTER.match(after):
        return Hint.MONEY
    before = _folded(text[max(0, start - _BEFORE) : start])
    if start > _BEFORE and text[start - _BEFORE - 1].isalpha():
        before = _CUT_START.sub("", before)  # half a word is another one
    nearest = Hint.NONE
    for match in _ANY.finditer(before):
        nearest = Hint(match.lastgroup or Hint.NONE)
        if nearest in _SHORT_LIVED and _SENTENCE_END.search(before, match.end()):
            nearest = Hint.NONE
    if nearest is not Hint.NONE:
        return nearest
    if before.rstrip().endswith("#"):
        return Hint.OTHER
    found = _ANY.search(_ENDS.split(after, maxsplit=1)[0])
    # What stands after it may belong to the next number: only what it is called by people counts.
    if found is not None and found.lastgroup in (Hint.PHONE, Hint.CARD, Hint.NATIONAL_ID):
        return Hint(found.lastgroup)
    return Hint.NONE


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.lower())
