# Numbers of the compiled readers: one text for C and, through constants.py, for Python.

# Places in event_t (a test holds them against event.pxd).
cdef enum:
    EVENT_SIZE = 64
    PLACE_TIME = 0
    PLACE_PID = 12
    PLACE_CACHE = 52
    PLACE_PREEMPT = 11
    PLACE_CPU = 8
    PLACE_KIND = 61
    PLACE_FLAGS = 10
    PLACE_NODE = 60
    PLACE_EXTRA = 63

cdef enum:
    LAST_NODE = 127

# Record types of the ring buffer above the short events.
cdef enum:
    LAST_SHORT = 28
    PADDING = 29
    TIME_EXTEND = 30
    TIME_STAMP = 31

# What the pieces of an event's plan cannot do (ring_buffer.pxd).
cdef enum:
    REST_MOVES = 1
    REST_APART = 2                # a marker, or of KIND_OTHER
    REST_CARRIED = 4              # its bytes are kept as a payload
    SLACK = 8                     # bytes behind the pages that a piece may read

# How a field of a format becomes a number.
cdef enum:
    HOW_NUMBER = 0
    HOW_DATA_LOC = 1              # a name, where a u32 says
    HOW_REL_LOC = 2               # the same, counted from behind the u32
    HOW_TEXT = 3                  # a name that stands there
    HOW_NODE = 4                  # a number, LAST_NODE if it is above

# How a line of text begins.
cdef enum:
    STYLE_FTRACE = 0
    STYLE_PERF = 1

# How a value is written.
cdef enum:
    VALUE_NUMBER = 0              # -1, 12, 0x1f
    VALUE_HEX = 1                 # ffff888004865618
    VALUE_TRUTH = 2               # true
    VALUE_TEXT = 3                # looked up in the interner of its key
    VALUE_NODE = 4                # a number, LAST_NODE if it is above

cdef enum:
    NO_KEY = 63                   # the number of all keys that no event record has
    KEYS_OF_LINE = 16             # that are remembered by their place in the line
    PROBES = 32                   # of a hash table; further than that the dictionary is asked

# Characters.
cdef enum:
    NEWLINE = 10
    SPACE = 32
    HASH = 35
    OPEN = 40
    CLOSE = 41
    DASH = 45
    DOT = 46
    SLASH = 47
    COLON = 58
    EQUALS = 61
    GREATER = 62
    LEFT = 91
    RIGHT = 93
