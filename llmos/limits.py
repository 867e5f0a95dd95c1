"""Every number that bounds anything, in one place.

A person's settings are in ``config.py``; what is here is what llmos never exceeds whatever the
settings say, and the constants of its mechanisms. Units stand in the names or the comments.
"""

from __future__ import annotations

__all__: list[str] = []  # read as limits.NAME

# --- engine ---------------------------------------------------------------------------------
STEP_TARGET_MS = 100.0  # a step's length while anybody waits
STEP_TARGET_IDLE_MS = 50.0  # the same when only idle work runs: a person may arrive at any moment
STEP_TARGET_ALONE_MS = 400.0  # the same when nobody else is there; also bounds how late a cancel is
PREFILL_CHUNK_MIN = 16  # tokens; smaller chunks cost more in overhead than they save in latency
BATCH_TOKENS = 512  # tokens llama.cpp takes in one decode
WINDOW_DEFAULT = 8192  # a window asked for as 0 is the model's own, at most this
SLOTS = 64  # sequences resident at once (llama.cpp allows 256)
SLOTS_RECURRENT = 8  # the same where every slot owns a whole recurrent state
PATIENCE_S = (0.05, 0.05, 0.25, 1.0)  # by priority: passed over for longer, it gets one step
RESERVE_TOKENS = (256, 256, 64, 16)  # by priority: cells kept ahead of what is already there
# Of a step, for a cell nobody needs: 2,000 cost one row a third, 128 cost eight rows an eighth.
WASTED_CELL_COST = 1 / 4000
SAVE_S = 0.0002  # seconds a token to move a sequence, until it is measured (0.01 to 0.3 ms)
REST_S = 0.05  # without a command until idle sequences are saved; a call's result comes sooner
GAP_CELLS = 64  # fewer empty cells below the last one in use are not worth a move
SHARE_MIN = 16  # tokens; a shorter common prefix is not worth waiting for or restoring
FLUSH_MS = 50.0  # text leaves the engine at most this often, times the number of streams
FLUSH_MAX_MS = 150.0
THREAD_PROBE_STEPS = 4  # steps measured at a lower thread count when cores are lost
THREAD_PROBE_MIN_S = 1.0  # seconds between two trials, doubled while the present count wins
THREAD_PROBE_MAX_S = 16.0
THREAD_ROUTINE_S = 60.0  # seconds until a trial for no reason
THREAD_LOOK_S = 0.25  # seconds between two looks at the idle cores
THREAD_SWITCH_GAIN = 1.15  # another thread count must be this much faster to be taken
THREAD_SPARE_LOSS = 0.9  # the same for more threads while cores lie idle: equal is enough
SPARE_CORES = 0.7  # idle cores that call for another thread
STARVED_CORES = 0.4  # cores that a step asked for and did not get, for it to be starved
LOGPROBS_MAX = 20
STOP_STRINGS_MAX = 16
STOP_STRING_CHARS = 512
N_MAX = 64  # parallel completions of one prompt
GRAMMAR_BYTES = 256 * 1024
REMOTE_REPLY_CHARS = 8_000_000  # of one reply from somebody else's server
KNOWN_TEXTS = 512  # token sequences remembered by the text they spell
KNOWN_TOKENS = 1 << 20  # tokens of all of them
ASIDE_CHARS = 20_000  # a longer text is tokenized in a thread (about 10 ms on the loop)
SWAP_SHARE = 0.25  # of the memory a model leaves free, at most for swapped-out sequences

# --- grammars -------------------------------------------------------------------------------
GRAMMAR_RULES = 8192  # rules of one grammar
GRAMMAR_COUNT = 1 << 24  # repetitions that can be told from without end
GRAMMAR_SECONDS = 0.5  # of processor time for one token; what takes longer holds up everybody
GRAMMAR_OPENINGS = 512  # ways to go on at one place; 120 times "anything" took a second a token
SCHEMA_NODES = 4096  # schemas within one schema, counted where they are used
SCHEMA_DEPTH = 48  # schemas within schemas
JSON_DEPTH = 12  # nesting of a value that the schema leaves free
PATTERN_CHARS = 512  # of one regular expression
NUMBER_DIGITS = 16  # before and after the point, where no bound says otherwise

# --- templates ------------------------------------------------------------------------------
TEMPLATE_CHARS = 256 * 1024
TEMPLATE_SECONDS = 2.0
TEMPLATE_MEMORY_MB = 256
TEMPLATE_OUTPUT_CHARS = 64 * 1024 * 1024
TEMPLATE_START_SECONDS = 20.0  # a worker starts in 0.1 s; a machine that swaps needs longer

# --- calls ----------------------------------------------------------------------------------
CALL_CHARS = 256 * 1024  # of one call as the model writes it
CALL_DEPTH = 64  # nesting of its arguments
CALL_NAME_CHARS = 128

# --- agent ----------------------------------------------------------------------------------
ROUNDS_MAX = 8  # model → calls → model, in one turn
SAME_CALL_MAX = 3  # the same call with the same arguments in one turn
CALLS_PARALLEL_MAX = 8
CALL_SECONDS = 30.0
CALL_RESULT_CHARS = 1_000_000
MAILBOX_MAX = 256
UNREADABLE_CHARS = 2000  # of a malformed call, shown to the model with what is wrong with it

# --- server ---------------------------------------------------------------------------------
BODY_BYTES = 32 * 1024 * 1024
MESSAGES_MAX = 10_000
EVENT_BACKLOG = 4096  # events kept for one slow terminal before it is dropped
EVENT_SEND_S = 20.0  # a terminal that takes no event for this long is dropped
WAIT_S = 86_400.0  # longest wait a client may ask for
BODY_DROP_BYTES = 128 * 1024 * 1024  # of a body that is too large, read and dropped
SOCKET_FRAME_BYTES = 64 * 1024  # one WebSocket message from a terminal; it has nothing to say
CONNECTIONS_MAX = 1024  # open at once; each holds a file descriptor
FILES_KEPT = 128  # descriptors that connections leave to the journal, the model and the workers
HEAD_S = 20.0  # for a connection to send a request's head, from its opening or its first byte
BODY_PAUSE_S = 30.0  # without a byte of a body that is not whole
KEEP_ALIVE_S = 60
GOODBYE_S = 2  # seconds that running answers get when the kernel stops
PROMPTS_MAX = 64  # prompts in one /v1/completions request
TOOLS_MAX = 128  # functions offered in one request

# --- store ----------------------------------------------------------------------------------
STORE_FREE_BYTES = 32 * 1024 * 1024  # below this the journal refuses new work, while it still can
STORE_GROUP = 256  # writes that share one commit
STORE_BUSY_S = 5.0  # seconds to wait for another program that holds the journal's file
STORE_PROBLEMS = 100  # problems that one check of the journal lists

# --- embedding ------------------------------------------------------------------------------
EMBED_TOKENS = 256  # what MiniLM was trained on; the rest of a text is cut, and reported
EMBED_CHARS = 65_536  # characters read to find these tokens
EMBED_BATCH = 8  # rows computed at once; more are slower on a CPU (8: 206 texts/s, 32: 190)
EMBED_CACHE = 4096  # vectors remembered, 6 MB at 384 dimensions
TOKENIZER_BYTES = 64 * 1024 * 1024

# --- models ---------------------------------------------------------------------------------
GGUF_HEADER_BYTES = 256 * 1024 * 1024  # real headers are below 32 MiB (tokens and merges)
GGUF_KEYS = 65_536  # metadata keys
GGUF_KEY_BYTES = 65_535  # of one key's name, as the format says
GGUF_TENSORS = 262_144
GGUF_STRINGS = 4_194_304  # strings in all arrays together; vocabularies are below 300,000
GGUF_KEPT_STRING_BYTES = 1024 * 1024  # of one string that is kept (a chat template, a name)
GGUF_KEPT_BYTES = 16 * 1024 * 1024  # of all kept values together
GGUF_KEPT_ARRAY = 4096  # numbers of one array that is kept (a value a layer)
WINDOW_MIN = 256  # tokens; a model made for fewer cannot hold a conversation
GGUF_DEPTH = 4  # arrays within arrays
PULL_TRIES = 6  # connections in a row without a byte before a download gives up
PULL_BACKOFF_S = 0.5  # before the second try; doubled up to the maximum
PULL_BACKOFF_MAX_S = 20.0
PULL_PROGRESS_S = 0.1  # seconds between two reports of a download's progress
PULL_SPARE_BYTES = 256 * 1024 * 1024  # left free on the disk after a download
PULL_CHUNK_BYTES = 1024 * 1024

# --- tools ----------------------------------------------------------------------------------
TOOL_LOAD_SECONDS = 30.0  # to import one tool
TOOL_SECONDS_MAX = 600.0  # longest time limit a manifest may ask for
TOOL_MANIFEST_BYTES = 256 * 1024
TOOL_SOURCE_BYTES = 4 * 1024 * 1024  # one file of a tool
TOOL_EXAMPLES = 200  # entries of a list in a manifest
TOOL_TEXT_CHARS = 2000

# --- processes ------------------------------------------------------------------------------
CHILDREN_MAX = 8  # living children of one process
DEPTH_MAX = 3  # generations below a process that a person started
TITLE_CHARS = 80
MESSAGE_CHARS = 10_000_000
CLOSE_SECONDS = 5.0  # for running turns to keep what they wrote
STOP_SECONDS = 30.0  # for a kernel to stop; what hangs longer is ended with the process

# --- terminals ------------------------------------------------------------------------------
START_SECONDS = 60.0  # for a kernel that was started to say that it loads its model
LOAD_SECONDS = 1800.0  # for another terminal's kernel that loads, or one that stops
GONE_SECONDS = STOP_SECONDS + 5.0  # for a kernel that was asked to stop to be gone
ANSWER_SECONDS = 30.0  # for an answer that waits for nothing but the kernel and its disk
