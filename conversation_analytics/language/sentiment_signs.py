# ruff: noqa: E501 - a list stays on few lines; Vietnamese letters are meant
"""Feelings that the embedder cannot see: emoji, to it one and the same, and Vietnamese words."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

_GLAD: Final = "😀😁😂😃😄😅😆😇😉😊😋😌😍😎😘😗😙😚😜😝😛😸😹😺😻😼😽🙂🙃🙌🤗🤩🥰🥳🤣🤭🥹👍👏👌🙏💪💖💗💓💕💞💘💝💚💙💛💜🧡🤍🫶🎉🎊✨🌟🌈🔥🏆💯🥇🤝"
_SAD: Final = "😞😟😠😡😢😣😤😥😦😧😨😩😪😫😬😭😰😱😒😓😔😕😖😑🙁☹🤬🤮🤢🤦🤯🙄😾😿🙀👎💔💩🖕👿🥲🤡"
_VIETNAMESE_GLAD: Final = "tuyệt|tuyệt vời|hài lòng|thích|yêu|vui|vui vẻ|hạnh phúc|tốt|hay|đẹp|xịn|ngon|mượt|ổn|cảm ơn|biết ơn|dễ thương|dễ chịu|nhiệt tình|chu đáo|thân thiện|hoàn hảo|xuất sắc|ấn tượng|ưng|ưng ý|chất lượng|tiện lợi|đáng tiền|tự hào|may mắn|hữu ích|ủng hộ|đỉnh|chuẩn|hào hứng"
_VIETNAMESE_SAD: Final = "tệ|tồi|dở|xấu|chán|buồn|bực|bực mình|tức|tức giận|giận|ghét|thất vọng|khó chịu|lừa đảo|lừa|hỏng|hư|lỗi|phí tiền|tiếc tiền|tiếc|hối hận|thô lỗ|bất lịch sự|vô trách nhiệm|kém|quá đắt|mệt mỏi|phiền|lo lắng|sợ|đau|khóc|kinh khủng|khủng khiếp|tồi tệ|phớt lờ|rác|nản|tẩy chay"
_SHIFT: Final = 1.25
"""What a sign adds to the score of its own sentiment, and takes from the other one."""
_MOST: Final = 2
_NOT: Final = frozenset({"không", "chẳng", "chả", "chưa", "đừng", "ko", "k"})


def sign_scores(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return what the signs in texts add to negative, neutral and positive, shape (texts, 3).

    Two signs more on one side count as many; a Vietnamese word after a "not" counts for the other.
    """
    import numpy as np  # noqa: PLC0415 - import budget

    pattern, feeling = _pattern()
    balance = np.zeros(len(texts))
    for row, text in enumerate(texts):
        for match in pattern.finditer(text.lower()):
            shift = feeling[match["sign"]]
            balance[row] += -shift if match["before"] in _NOT else shift
    balance = np.clip(balance, -_MOST, _MOST) * _SHIFT
    return np.stack([-balance, -np.abs(balance) / 2, balance], axis=1)


@functools.cache
def _pattern() -> tuple[re.Pattern[str], dict[str, int]]:
    feeling = dict.fromkeys(_GLAD, 1) | dict.fromkeys(_SAD, -1)
    words = dict.fromkeys(_VIETNAMESE_GLAD.split("|"), 1) | dict.fromkeys(
        _VIETNAMESE_SAD.split("|"), -1
    )
    # A word without any Vietnamese letter may be one of another language.
    words = {word: one for word, one in words.items() if not word.isascii()}
    longest_first = "|".join(sorted(words, key=lambda word: (-len(word), word)))
    signs = "".join(re.escape(sign) for sign in feeling)
    return (
        re.compile(
            rf"(?:\b(?P<before>{'|'.join(sorted(_NOT))})\s+)?(?P<sign>[{signs}]|\b(?:{longest_first})\b)"
        ),
        feeling | words,
    )
