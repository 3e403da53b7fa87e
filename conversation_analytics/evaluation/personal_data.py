# ruff: noqa: RUF001, E501 - Chinese punctuation is meant; a language stays on a line
"""How well structured personal data is found, on a made-up labelled set in nine languages.

The set is made by the author of the rules: it shows what is broken, and proves little about text
that somebody else wrote. `measure` takes any labelled texts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from conversation_analytics.core.personal_data import find
from conversation_analytics.core.personal_kinds import Kind, Span
from conversation_analytics.evaluation import personal_values as values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SEED: Final = 20261123

# Language: a label for each kind, sentences around a labelled value, sentences around a bare one.
_LABELS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "phone": ("phone", "call me at", "tel.", "my number is", "Mobile:", "WhatsApp"),
        "card": ("card number", "Visa", "credit card:"), "ip": ("IP", "from the address", "server"),
        "id": ("SSN", "national insurance number", "my social security number is", "NI number:"),
        "password": ("password:", "Password =", "pwd:"), "key": ("API key", "token:", "my key is"),
        "iban": ("IBAN", "account", "transfer to"), "email": ("e-mail", "write to", "mail:"),
    },
    "de": {
        "phone": ("Telefon", "Tel.:", "ruf mich an:", "Handy", "erreichbar unter"),
        "card": ("Kreditkarte", "Kartennummer"), "ip": ("IP-Adresse", "Server"),
        "id": ("Steuer-ID", "meine Steueridentifikationsnummer ist", "IdNr."),
        "password": ("Passwort:", "Kennwort:"), "key": ("API-Schlüssel", "Token:"),
        "iban": ("IBAN", "Konto"), "email": ("E-Mail", "schreib an"),
    },
    "fr": {
        "phone": ("téléphone", "tél.", "appelez-moi au", "mon portable :", "joignable au"),
        "card": ("carte bancaire", "numéro de carte"), "ip": ("adresse IP", "serveur"),
        "id": ("numéro de sécurité sociale", "NIR", "n° de sécu"),
        "password": ("mot de passe :", "mot de passe:"), "key": ("clé API", "jeton :"),
        "iban": ("IBAN", "compte"), "email": ("e-mail", "écrivez à"),
    },
    "es": {
        "phone": ("teléfono", "tel.", "llámame al", "mi móvil es", "celular:"),
        "card": ("tarjeta", "número de tarjeta"), "ip": ("dirección IP", "servidor"),
        "id": ("DNI", "NIE", "mi documento es"),
        "password": ("contraseña:", "clave:"), "key": ("clave de API", "token:"),
        "iban": ("IBAN", "cuenta"), "email": ("correo", "escríbeme a"),
    },
    "pt": {
        "phone": ("telefone", "tel.", "me ligue no", "meu celular é", "telemóvel:"),
        "card": ("cartão", "número do cartão"), "ip": ("endereço IP", "servidor"),
        "id": ("CPF", "NIF", "contribuinte", "CNPJ"),
        "password": ("senha:", "palavra-passe / password:"), "key": ("chave de API", "token:"),
        "iban": ("IBAN", "conta"), "email": ("e-mail", "escreva para"),
    },
    "id": {
        "phone": ("telepon", "telp.", "hubungi", "nomor HP saya", "WA:"),
        "card": ("kartu kredit", "nomor kartu"), "ip": ("alamat IP", "server"),
        "id": ("NIK", "KTP", "nomor KTP saya"),
        "password": ("kata sandi:", "password:"), "key": ("kunci API", "token:"),
        "iban": ("IBAN", "rekening"), "email": ("email", "kirim ke"),
    },
    "vi": {
        "phone": ("điện thoại", "ĐT:", "gọi cho tôi số", "sđt", "liên hệ"),
        "card": ("thẻ tín dụng", "số thẻ"), "ip": ("địa chỉ IP", "máy chủ"),
        "id": ("CCCD", "căn cước công dân", "số CCCD của tôi là"),
        "password": ("mật khẩu:", "password:"), "key": ("khóa API", "token:"),
        "iban": ("IBAN", "tài khoản"), "email": ("email", "gửi tới"),
    },
    "zh": {
        "phone": ("电话", "手机号:", "请打", "联系方式：", "微信同号"),
        "card": ("信用卡", "卡号"), "ip": ("IP地址", "服务器"),
        "id": ("身份证", "身份证号：", "我的身份证号码是"),
        "password": ("密码：", "口令:"), "key": ("API密钥", "token:"),
        "iban": ("IBAN", "账户"), "email": ("邮箱", "邮件发到"),
    },
    "th": {
        "phone": ("โทร", "เบอร์โทร", "ติดต่อ", "มือถือ:", "เบอร์ผมคือ"),
        "card": ("บัตรเครดิต", "หมายเลขบัตร"), "ip": ("ไอพี", "เซิร์ฟเวอร์"),
        "id": ("เลขบัตรประชาชน", "บัตรประชาชน", "เลขประจำตัวประชาชน"),
        "password": ("รหัสผ่าน:", "password:"), "key": ("คีย์ API", "token:"),
        "iban": ("IBAN", "บัญชี"), "email": ("อีเมล", "ส่งมาที่"),
    },
}  # fmt: skip
_SENTENCES: Final[dict[str, tuple[str, ...]]] = {
    "en": ("Hi, {} please help.", "Could you check {}? Thanks", "{}", "I moved last week, {}, and nothing works."),
    "de": ("Hallo, {} bitte helfen Sie mir.", "Könnten Sie {} prüfen?", "{}", "Seit gestern geht nichts, {}."),
    "fr": ("Bonjour, {} merci de m'aider.", "Pouvez-vous vérifier {} ?", "{}", "Rien ne marche depuis hier, {}."),
    "es": ("Hola, {} por favor ayuda.", "¿Puedes revisar {}?", "{}", "Desde ayer no funciona nada, {}."),
    "pt": ("Olá, {} por favor me ajude.", "Pode verificar {}?", "{}", "Desde ontem nada funciona, {}."),
    "id": ("Halo, {} tolong bantu saya.", "Bisa cek {}?", "{}", "Sejak kemarin tidak bisa, {}."),
    "vi": ("Xin chào, {} xin giúp tôi.", "Bạn kiểm tra {} được không?", "{}", "Từ hôm qua không dùng được, {}."),
    "zh": ("你好，{}，请帮忙。", "能查一下{}吗？", "{}", "昨天开始就不行了，{}。"),
    "th": ("สวัสดีครับ {} ช่วยหน่อยครับ", "ช่วยเช็ค {} ได้ไหมคะ", "{}", "ตั้งแต่เมื่อวานใช้ไม่ได้เลย {}"),
}  # fmt: skip
_NEGATIVE_LABELS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {"order": ("order number", "order #", "invoice"), "tracking": ("tracking number", "parcel"),
           "date": ("on", "date:"), "version": ("version", "release"), "price": ("price", "I paid"),
           "coordinates": ("at", "coordinates"), "count": ("about", "a total of")},
    "de": {"order": ("Bestellnummer", "Rechnung", "Auftrag"), "tracking": ("Sendungsnummer", "Paket"),
           "date": ("am", "Datum:"), "version": ("Version",), "price": ("Preis", "Betrag"),
           "coordinates": ("Koordinaten",), "count": ("etwa", "insgesamt")},
    "fr": {"order": ("commande n°", "facture", "numéro de commande"), "tracking": ("numéro de suivi", "colis"),
           "date": ("le", "date :"), "version": ("version",), "price": ("prix", "montant"),
           "coordinates": ("coordonnées",), "count": ("environ", "au total")},
    "es": {"order": ("pedido", "número de pedido", "factura"), "tracking": ("número de seguimiento", "guía"),
           "date": ("el", "fecha:"), "version": ("versión",), "price": ("precio", "importe"),
           "coordinates": ("coordenadas",), "count": ("unos", "en total")},
    "pt": {"order": ("pedido", "número do pedido", "fatura"), "tracking": ("código de rastreio", "encomenda"),
           "date": ("em", "data:"), "version": ("versão",), "price": ("preço", "valor"),
           "coordinates": ("coordenadas",), "count": ("cerca de", "no total")},
    "id": {"order": ("nomor pesanan", "pesanan", "faktur"), "tracking": ("nomor resi", "paket"),
           "date": ("pada", "tanggal"), "version": ("versi",), "price": ("harga", "total"),
           "coordinates": ("koordinat",), "count": ("sekitar", "sebanyak")},
    "vi": {"order": ("mã đơn hàng", "đơn hàng", "hóa đơn"), "tracking": ("mã vận đơn", "bưu kiện"),
           "date": ("ngày",), "version": ("phiên bản",), "price": ("giá", "số tiền"),
           "coordinates": ("tọa độ",), "count": ("khoảng", "tổng cộng")},
    "zh": {"order": ("订单号", "订单", "发票号"), "tracking": ("快递单号", "运单号"),
           "date": ("日期", "于"), "version": ("版本",), "price": ("价格", "金额"),
           "coordinates": ("坐标",), "count": ("大约", "一共")},
    "th": {"order": ("เลขคำสั่งซื้อ", "ออเดอร์", "ใบแจ้งหนี้"), "tracking": ("เลขพัสดุ", "ติดตามพัสดุ"),
           "date": ("วันที่", "เมื่อ"), "version": ("เวอร์ชัน",), "price": ("ราคา", "ยอด"),
           "coordinates": ("พิกัด",), "count": ("ประมาณ", "ทั้งหมด")},
}  # fmt: skip
_FULL_WIDTH: Final = str.maketrans("0123456789", "０１２３４５６７８９")
_THAI: Final = str.maketrans("0123456789", "๐๑๒๓๔๕๖๗๘๙")
_BARE_TOO: Final = frozenset({Kind.EMAIL, Kind.IBAN, Kind.CARD, Kind.IP, Kind.KEY})
_NOISE_EXAMPLES: Final = 6


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and what is in it.

    Attributes:
        text: the text.
        spans: what a person would mark.
        about: language, and what kind of value it was made with.
    """

    text: str
    spans: tuple[Span, ...]
    about: str


@dataclass(frozen=True, slots=True)
class Quality:
    """How well one kind is found; `kind` is None for all of them together.

    Attributes:
        kind: the kind.
        labelled: spans that are there.
        right: spans found with their kind and exact ends.
        found: spans found.
        touched: spans there of which at least a part is found, whatever its kind.
    """

    kind: Kind | None
    labelled: int
    right: int
    found: int
    touched: int

    @property
    def recall(self) -> float:
        """Share of the spans there that are found; 1 where there are none."""
        return self.right / self.labelled if self.labelled else 1.0

    @property
    def precision(self) -> float:
        """Share of the spans found that are there; 1 where none is found."""
        return self.right / self.found if self.found else 1.0


@dataclass(frozen=True, slots=True)
class Confusion:
    """One span that is wrong: `expected` was not found, or `got` is not there."""

    about: str
    text: str
    expected: str
    got: str


def made_up(seed: int = SEED, rounds: int = 12) -> list[Labelled]:
    """Return the labelled set: the same for the same arguments.

    Args:
        seed: of the values and sentences.
        rounds: values of each kind and language.
    """
    rng = Random(seed)  # noqa: S311 - made up, not secret
    cases: list[Labelled] = []
    for language in _LABELS:
        for _ in range(rounds):
            cases += _positives(rng, language)
            cases += _negatives(rng, language)
    return cases


def _positives(rng: Random, language: str) -> list[Labelled]:
    makers: list[tuple[Kind, str, values.Maker]] = [
        (Kind.PHONE, "phone", values.phone(language)), (Kind.EMAIL, "email", values.email),
        (Kind.IBAN, "iban", values.iban), (Kind.CARD, "card", values.card), (Kind.IP, "ip", values.ip),
        (Kind.KEY, "key", values.key), (Kind.KEY, "password", values.password),
        *((Kind.NATIONAL_ID, "id", maker) for maker in values.NATIONAL_IDS[language]),
    ]  # fmt: skip
    cases = []
    for kind, name, maker in makers:
        value = maker(rng)
        if language == "zh" and kind in (Kind.PHONE, Kind.CARD) and rng.random() < 0.25:  # noqa: PLR2004
            value = value.translate(_FULL_WIDTH)
        if language == "th" and kind in (Kind.PHONE, Kind.NATIONAL_ID) and rng.random() < 0.25:  # noqa: PLR2004
            value = value.translate(_THAI)
        label = rng.choice(_LABELS[language][name])
        bare = kind in _BARE_TOO and name != "password" and rng.random() < 0.4  # noqa: PLR2004
        before = "" if bare else label + _link(rng, label, language)
        cases.append(_case(rng, language, before, value, kind, f"{language} {name}"))
    credentials = values.url_credentials(rng)
    scheme = rng.choice(["postgres", "https", "mongodb+srv", "redis", "ftp"])
    text = f"{scheme}://\x00@db.example.com:5432/main"
    cases.append(
        _case(rng, language, "", credentials, Kind.URL_CREDENTIALS, f"{language} url", text)
    )
    return cases


def _link(rng: Random, label: str, language: str) -> str:
    if label.endswith((":", "：", "=")):
        return rng.choice([" ", ""]) if language in ("zh", "th") else " "
    return rng.choice(["", "：", " "]) if language == "zh" else rng.choice([" ", ": ", " "])


def _case(
    rng: Random,
    language: str,
    before: str,
    value: str,
    kind: Kind,
    about: str,
    around: str = "\x00",
) -> Labelled:
    sentence = rng.choice(_SENTENCES[language])
    text = sentence.format(before + around)
    start = text.index("\x00")
    return Labelled(text.replace("\x00", value), (Span(start, start + len(value), kind),), about)


def _negatives(rng: Random, language: str) -> list[Labelled]:
    cases = []
    labels = _NEGATIVE_LABELS[language]
    for name, maker in values.NEGATIVES.items():
        before = ""
        if name in labels:
            label = rng.choice(labels[name])
            before = label + _link(rng, label, language)
        text = rng.choice(_SENTENCES[language]).format("\x00").replace("\x00", before + maker(rng))
        cases.append(Labelled(text, (), f"{language} {name}"))
    for name, maker in values.BROKEN.items():
        if rng.random() < 0.3:  # noqa: PLR2004
            text = rng.choice(_SENTENCES[language]).format("\x00").replace("\x00", maker(rng))
            cases.append(Labelled(text, (), f"{language} {name}"))
    return cases


def measure(cases: Iterable[Labelled]) -> tuple[list[Quality], list[Confusion]]:
    """Compare what is found with the labels: kind and both ends have to be the same.

    Returns:
        A row for each kind that there is, one for all at the end, and every difference.
    """
    labelled: Counter[Kind] = Counter()
    right: Counter[Kind] = Counter()
    found: Counter[Kind] = Counter()
    touched: Counter[Kind] = Counter()
    wrong: list[Confusion] = []
    for case in cases:
        spans = find(case.text)
        labelled.update(span.kind for span in case.spans)
        found.update(span.kind for span in spans)
        for span in case.spans:
            over = [s for s in spans if s.start < span.end and span.start < s.end]
            touched[span.kind] += bool(over)
            right[span.kind] += span in spans
            if span not in spans:
                wrong.append(_confusion(case, (span,), over))
        wrong += [
            _confusion(case, (), [span])
            for span in spans
            if not any(s.start < span.end and span.start < s.end for s in case.spans)
        ]
    rows = [
        Quality(kind, labelled[kind], right[kind], found[kind], touched[kind])
        for kind in Kind
        if labelled[kind] or found[kind]
    ]
    total = Quality(None, *(c.total() for c in (labelled, right, found, touched)))
    return [*rows, total], wrong


def _confusion(case: Labelled, expected: Sequence[Span], got: Sequence[Span]) -> Confusion:
    def told(spans: Sequence[Span]) -> str:
        return ", ".join(f"{s.kind} {case.text[s.start : s.end]!r}" for s in spans) or "nothing"

    return Confusion(case.about, case.text, told(expected), told(got))


def table(rows: Iterable[Quality]) -> str:
    """Render qualities as a Markdown table."""
    lines = [
        "| kind | spans | recall | precision | found at least in part |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        share = row.touched / row.labelled if row.labelled else 1.0
        lines.append(
            f"| {row.kind or 'all'} | {row.labelled} | {row.recall:.3f} | {row.precision:.3f} "
            f"| {share:.3f} |"
        )
    return "\n".join(lines) + "\n"


def evaluate(rounds: int = 40) -> str:
    """Measure the made-up set; return the table and examples of what is confused, as Markdown."""
    cases = made_up(rounds=rounds)
    rows, wrong = measure(cases)
    kinds = Counter(one.about for one in wrong)
    lines = [
        f"## Structured personal data: {len(cases)} made-up texts in {len(_LABELS)} languages\n",
        table(rows),
        "Most often wrong: "
        + (", ".join(f"{about} ({count})" for about, count in kinds.most_common(8)) or "none")
        + "\n",
    ]
    seen: Counter[str] = Counter()
    for one in wrong:
        seen[one.about] += 1
        if seen[one.about] == 1 and len(seen) <= _NOISE_EXAMPLES:
            lines.append(f"- {one.about}: {one.text!r}: expected {one.expected}, got {one.got}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(evaluate())  # noqa: T201 - a command
