"""What other people's decoders raise on damaged files, to be translated once at the door."""

import logging
import struct
import zlib
from typing import Final

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it logs of a damaged file comes as an error too

DECODER_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow, tifffile and imagecodecs raise on damaged files; none of them has an error of its own for it."""
