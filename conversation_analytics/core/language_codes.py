"""Codes of the languages that can be told apart (ISO 639-1, or 639-3 where there is none)."""

from __future__ import annotations

from typing import Final

CANDIDATES: Final = ("en", "th", "vi", "zh", "id", "es", "pt", "fr", "de")
"""Languages that are told apart unless a deployment names others."""
UNDETERMINED: Final = "und"
"""A language that is none of the candidates, or that cannot be told (ISO 639-2)."""
NO_LANGUAGE: Final = "zxx"
"""A text without words (ISO 639-2)."""
_CODES: Final = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext
fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv
ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso
oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr
tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""
KNOWN: Final = frozenset(_CODES.split())
"""Languages that can be candidates: those of the model of `language.detectors`."""
