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
REMOTE_WORDS = 500  # characters of what it says about a refusal
KNOWN_TEXTS = 512  # token sequences remembered by the text they spell
KNOWN_TOKENS = 1 << 20  # tokens of all of them
ASIDE_CHARS = 20_000  # a longer text is tokenized in a thread (about 10 ms on the loop)
SWAP_FILE_TOKENS = 256  # a shorter snapshot is computed again sooner than it is worth a file
SWAP_FILE_REST_S = 20.0  # at rest for so long, what is only in memory is written to disk
SWAP_FILE_CLOSE_S = 15.0  # for the last snapshots to be written when the kernel stops
SWAP_FILE_QUEUE_BYTES = 1 << 29  # of snapshots in memory that wait to be written
SWAP_FILE_SPARE_BYTES = 1 << 30  # left free on the disk
SWAP_FILE_HEADER_BYTES = 4096
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
ASKED_CHARS = 2000  # of a message that may ask for a call in so many words

# --- agent ----------------------------------------------------------------------------------
ROUNDS_MAX = 8  # model → calls → model, in one turn
SAME_CALL_MAX = 3  # the same call with the same arguments in one turn
CALLS_PARALLEL_MAX = 8
GRANTS_MAX = 10_000
PREPARE_SECONDS = 120.0  # for an expert's front to be computed when it is installed
EXPERTS_CLOSE_S = 10.0  # for the loading of experts to end when the kernel stops
DIRECTORIES_KEPT = 16  # of tables of calls, one an expert
EXPERTS_TOLD = 12  # of their names, where somebody asks for one that is not there
EXPERT_SHOWN = 3  # passages of an expert's knowledge that come with a message
NESTED_CALLS = 200  # that code in a session makes in one turn
NAMED_PATHS = 64  # files and folders that a person named in a conversation, the newest
SCHEMAS_TOKENS = 2000  # of all schemas together; beyond, a directory stands for them
DIRECTORY_TOKENS = 1800  # of that directory, where names alone do not take more
OPENED_AT_ONCE = 8  # calls whose manual is read at once
FOLDER_CHARS = 4096  # of a folder's path in a grant
GUIDE_TRIES = 3  # ways to fill in a call, in one turn, before the error is the answer
SETTLE_CHARS = 8000  # of a person's message, when it is settled what it asks for
SETTLE_TOKENS = 512
SETTLE_LINES = 24  # calls of one turn
LED_TO = 3  # times a call is made that another one declares it leads to: pages a search found
EXTRACTIONS = 8  # values read in a turn from texts that are not shown; children included
READER_PARTS = 4  # of one text that are looked at for a value
READER_PART_BYTES = 6000  # about 1,500 tokens of English
READER_ROOM = 64  # tokens of a text that must fit into a window beside the question
READER_TOKENS = 512  # of an answer, or an eighth of the window; a value takes 20
READER_QUESTION = 300  # characters
READER_OPTIONS = 8  # of a choice
READER_OPTION = 60  # characters
READER_PLACE = 200  # characters that say where a value was read
PROGRESS_S = 0.2  # between two reports of a call's progress
PROGRESS_CHARS = 200
ARTIFACT_BYTES = 64 << 20  # of one file that a call made
ARTIFACTS_MAX = 32  # files of one call
ARTIFACTS_BYTES = 8 << 30  # of all that are kept
QUESTION_SECONDS = 900.0  # a person is waited for before a call is denied
QUESTION_VALUE_CHARS = 4000  # of an argument, as a person is asked about it
VOUCHED_CHARS = 200_000  # of the trusted values of one result
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
SOCKET_FRAME_BYTES = 16 << 20  # one WebSocket message: the longest that holds sound
CONNECTIONS_MAX = 1024  # open at once; each holds a file descriptor
FILES_KEPT = 128  # descriptors that connections leave to the journal, the model and the workers
HEAD_S = 20.0  # for a connection to send a request's head, from its opening or its first byte
BODY_PAUSE_S = 30.0  # without a byte of a body that is not whole
KEEP_ALIVE_S = 60
GOODBYE_S = 2  # seconds that running answers get when the kernel stops
PROMPTS_MAX = 64  # prompts in one /v1/completions request
TOOLS_MAX = 128  # functions offered in one request

# --- realtime -------------------------------------------------------------------------------
REALTIME_SESSIONS = 16  # open at once
REALTIME_APPEND_CHARS = 15 << 20  # of the base64 of one append: 4 minutes of sound
REALTIME_SLICE = 8  # frames of sound between two turns of the loop, a few milliseconds
REALTIME_ITEMS = 1000  # of a conversation that a client can name; older ones are in the journal
REALTIME_WAITING = 64  # messages that nobody asked to have answered yet
REALTIME_PARTS = 64  # of one message
REALTIME_ID_CHARS = 64
REALTIME_EVENT_ID_CHARS = 512
REALTIME_INSTRUCTIONS_CHARS = 100_000
REALTIME_DELTA_S = 0.5  # of sound in one event
REALTIME_OUT_BYTES = 256 * 1024  # that wait to be sent before more sound is made
REALTIME_OUT_EVENTS = 4096  # the same, before a client that reads nothing is dropped
REALTIME_OUT_CHARS = 64 << 20  # the same
REALTIME_AHEAD_S = 60.0  # of sound sent before it can have been heard
REALTIME_REMINDERS = 16  # whose answers wait to be told
REALTIME_CUT_S = 20.0  # for a turn to end, before it is kept how much of it was heard

# --- store ----------------------------------------------------------------------------------
STORE_FREE_BYTES = 32 * 1024 * 1024  # below this the journal refuses new work, while it still can
STORE_GROUP = 256  # writes that share one commit
STORE_BUSY_S = 5.0  # seconds to wait for another program that holds the journal's file
STORE_PROBLEMS = 100  # problems that one check of the journal lists

# --- window ---------------------------------------------------------------------------------
PAGE_BYTES = 800  # of one page, about 200 tokens of English: the embedder reads 256
WEIGHED_TURNS = 200  # with more in view, what leaves is not weighed
REFILL_COST = 0.5  # of computing a whole window again, in the worth of the newest turn
REPLY_SHARE = 0.25  # of the window, kept free for a reply at most
LOW_SHARE = 0.4  # of the window, left in view by a batch that leaves
REST_SHARE = 0.75  # of the window; fuller at the end of a turn, a batch leaves while nobody waits
NEXT_SHARE = 0.05  # of the window; as much is reckoned with for a next message, at rest
DRAFT_TAIL = 4  # tokens at the end of what is being typed that may still change
MESSAGE_SHARE = 0.33  # of the window, that one message or result may fill
PINNED_SHARE = 0.25  # of the window, for the texts of all turns with a pinned page
PINNED_FRAMES = 1.3  # times that, for these turns with what frames their messages
RELEVANCE_WAIT_S = 0.5  # for what turns are near to the talk, before they are weighed by age alone
WINDOW_RECORDS = 20_000  # in the windows of idle processes, before those used longest ago are shut

# --- recall ---------------------------------------------------------------------------------
FEED_RECORDS = 256  # read from the journal at once
FEED_PASSAGES = 64  # indexed in one transaction
CONTEXT_CHARS = 200  # of a neighbour, indexed along
QUERY_CHARS = 400  # of a person's words, searched with
FORGET_CHARS = 8  # a text this long is forgotten wherever it stands to the letter
FACT_CHARS = 2000  # of one thing that is remembered
CORE_CHARS = 2000  # of what every conversation begins with
FACT_SAID = 160  # of one that a reply quotes; a longer one is named by its id
# Cosine from which a fact may be an older version of a new one, and words they must begin with in
# common, or have at all where only numbers differ. Chosen by eye, with the starter embedder, on
# sentences written for it: no bench measures it.
FACT_NEAR = 0.5
FACT_ALIKE = 3
# Cosine from which a person may mean a fact they ask to have forgotten, and is shown it; nothing
# goes by it. Chosen in the same way.
FACT_MEANT = 0.4
SEARCH_SHOWN = 5  # pages that a search shows the model
SEARCH_LINE = 300  # characters of each
SEARCH_MOST = 100  # pages that a client may ask for
SEARCH_GLIMPSE = 110  # characters of each that a person is shown, around the words sought
# Cosine below which a passage without any of the query's words is told as merely the nearest.
# Chosen in the same way as FACT_NEAR.
SEARCH_FITS = 0.25
PAGE_LINE = 160  # characters of a page's beginning, where many pages are listed
PREFETCH_SIMILAR = 0.5  # cosine from which a passage is brought back unasked
PREFETCH_RELATED = 0.35  # the same for one that holds the question's rare words
PREFETCH_TIED = 0.97  # share of the best score from which a passage is about as good
PREFETCH_WORDS = 0.4  # share of them, weighted by rarity
PREFETCH_TELLS = 0.6  # cosine of a sentence of a passage that is farther off as a whole
PREFETCH_LOOKS = 3  # passages looked at for such a sentence, about 5 ms each
PREFETCH_WAIT_S = 0.5  # for what was just said to be indexed
PREFETCH_BEYOND = 4  # passages looked at beyond those, where the first do not belong or fit
ECHO_WEIGHT = 0.9  # of what the model itself said, among what is found
ASKING_WEIGHT = 0.85  # of what is a question and nothing else
SEARCH_BEYOND = 8  # passages looked at beyond those asked for, before they are weighed
EXCERPT_CHARS = 300  # of a page, for a small model
PREFETCH_PAGES = 4  # brought back in one turn for a model that is not small
PREFETCH_SHARE = 0.125  # of the window, for what is brought back in one turn

# --- dreaming -------------------------------------------------------------------------------
SUMMARY_READS = 0.5  # of the window, for what one summary is made of
SUMMARY_WORTH = 400  # characters from which turns are summarised; a quote says as much of less
SUMMARY_WORDS = 4  # that say something; with fewer it is none
SUMMARY_QUOTES = 240  # characters of what was said, where the model is too small to write one
SUMMARY_LINE = 25  # of a sentence that is worth being quoted
SUMMARY_SENTENCES = 200  # that these are chosen from
SUMMARY_TOKENS = 96  # that the model may write
SUMMARY_CHARS = 400  # of these that are kept
SUMMARY_STRAY = 0.25  # of a summary's words, that may stand in none of its sources
SUMMARY_SHARE = 0.3  # bytes of all summaries in a front, for each token of the window
SUMMARIES_A_RUN = 4  # with more they are summarised themselves
DREAM_PAGES = 8192  # records looked at for links in one dream
DREAM_WAIT_S = 5.0  # between two looks at whether it is time
DREAM_MADE = 1000  # of what one dream made that is told
LINK_CHARS = 60  # of a page that is about something
LINK_LOOKS = 16  # passages looked at for each
LINK_SIMILAR = 0.6  # cosine of two pages that are about the same
LINKS_A_PAGE = 3

# --- files ----------------------------------------------------------------------------------
FILE_TEXT_BYTES = 32 * 1024 * 1024  # of a text; what follows is not read, and that is said
FILE_DECODED_BYTES = 64 * 1024 * 1024  # a longer PDF, Word file, spreadsheet or page is not read
FILE_UNPACKED_BYTES = 256 * 1024 * 1024  # that an archive says it holds (Word, spreadsheets)
FILE_MEMBERS = 10_000  # of an archive
FILE_SECTIONS = 50_000  # of one file
FILE_MEMORY_MB = 1024  # of the process that decodes one file
FILE_CPU_SECONDS = 60  # the same
FILE_WAIT_SECONDS = 180.0  # waited for its text in all; more than it may compute: machines are busy
FILE_START_SECONDS = 60.0  # for the decoders to load; a machine that swaps needs longer than 1 s
FILE_LINE_CHARS = 16_384  # a longer line is read in pieces
FILE_ROW_CHARS = 1024 * 1024  # of one row of a table with separators
FILE_BLOCK_CHARS = 65_536  # a decoder's longer paragraph, row or page comes in pieces
FILE_HEADINGS = 64  # in a row, with nothing between them
FILE_TITLE_CHARS = 80  # of a heading or a sheet's name, where a place is told
FILE_CONTEXT_CHARS = 200  # of the text before and after a passage, kept with it
MOUNTS_MAX = 16
MOUNT_FILES = 50_000  # of one mounted folder
MOUNT_ENTRIES = 1_000_000  # names looked at in one mounted folder, ignored ones too
MOUNT_PASSAGES = 500_000
MOUNT_DEPTH = 64  # folders within folders
MOUNT_BATCH = 64  # passages handed over at once
MOUNT_SKIPPED = 1_000  # files not read that are listed with their reasons
MOUNT_RACY_S = 2.0  # a file changed this lately may change again without showing it
IGNORE_BYTES = 256 * 1024  # of one .gitignore
IGNORE_LINES = 5_000
IGNORE_STARS = 3  # wildcards of one pattern; each one more multiplies what a name can cost
FOLLOW_DEBOUNCE_MS = 2_000  # changes that come this close together are looked at as one
FOLLOW_STEP_MS = 500  # of quiet that end them sooner; also how often a watch wakes up
FOLLOW_DIRECTORIES = 8_192  # watched in one mounted folder; with more it is polled
FOLLOW_PATHS = 1_000  # changes at once; with more the whole folder is looked at
FOLLOW_POLL_S = 60.0  # between two looks at a folder that is gone or can't be watched
FOLLOW_FULL_S = 900.0  # between two looks at a whole watched folder: a watch may miss something
FOLLOW_SHARE = 0.1  # of the time, that following a folder may take


# --- embedding ------------------------------------------------------------------------------
EMBED_TOKENS = 256  # what MiniLM was trained on; the rest of a text is cut, and reported
EMBED_WINDOW = 2048  # of any other embedder, at most: attention takes memory with its square
EMBED_CHARS = 65_536  # characters read to find these tokens
EMBED_BATCH = 8  # rows computed at once; more are slower on a CPU (8: 206 texts/s, 32: 190)
EMBED_BATCH_TOKENS = 2048  # of such a batch with its padding
EMBED_CACHE = 4096  # vectors remembered, 6 MB at 384 dimensions
EMBED_INPUTS = 2048  # texts of one request to /v1/embeddings, as OpenAI has it
EMBED_PIECE = 32  # of them computed before another request, or a client's going, is looked at
EMBED_DIMENSION = 65_536  # numbers of one vector, at most
EMBED_CONFIG_BYTES = 1024 * 1024  # of a JSON file beside a model
EMBED_LOGITS_BYTES = 1 << 30  # of memory that a GGUF embedder fills with its longest texts
EMBED_WORKER_START_S = 120.0  # for a GGUF embedder's process to load its model
EMBED_WORKER_S = 120.0  # for it to answer; it asks for little at a time, but yields to everybody
EMBED_WORKER_CHARS = 4096  # of the texts it is given at once, so that a query need not wait long
EMBED_REMOTE_BATCH = 32  # texts in one request to a server
EMBED_REMOTE_S = 60.0  # for it to answer
EMBED_REMOTE_QUERY_S = 10.0  # the same for one text: somebody may wait for it
EMBED_REMOTE_BYTES = 64 * 1024 * 1024  # of one answer
EMBED_REMOTE_REST_S = 15.0  # after it could not be reached, until it is asked again
EMBED_REMOTE_CUTS = 8  # times a text is halved that the server calls too long
TOKENIZER_BYTES = 64 * 1024 * 1024

# --- search index ---------------------------------------------------------------------------
INDEX_QUERY_CHARS = 4000  # of a query; words and vectors look at no more
INDEX_TERMS = 64  # distinct words of a query
INDEX_SOUGHT = 8  # words of a query that are sought together; one with more is a whole message
INDEX_LIFTED = 32  # passages, the best by words, looked at for whether they hold all
INDEX_TERM_ROWS = 15_000  # passages scored for one query; its commonest words go beyond that
INDEX_TERMS_KEPT = 4096  # words whose rarity is remembered
INDEX_DEPTH = 100  # passages of each of the four lists that are fused
INDEX_RANK = 60  # constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)
INDEX_HITS = 1000  # of one search
INDEX_PIDS = 64  # processes that a search names one by one
INDEX_EXACT = 20_000  # passages compared one by one, 5 ms a thousand; Chroma helps beyond
INDEX_SLICE = 2048  # pairs of vectors in memory at once
INDEX_GROUP = 500  # passages written in one transaction
INDEX_EMBED = 8  # passages embedded between two looks at whether somebody waits
INDEX_RETRY_S = 30.0  # until an embedder that failed is tried again
INDEX_READERS = 4  # connections that are kept open
INDEX_CACHE_KB = 8192  # of each connection
INDEX_CHECK_BYTES = 128 * 1024 * 1024  # a larger file is checked only where it is read
INDEX_LOG_BYTES = 32 * 1024 * 1024  # the write-ahead log is cut to this
CHROMA_BATCH = 128  # entries a request, so that a search between two does not wait long
CHROMA_START_S = 60.0  # to import chromadb and open its files, about 2 s
CHROMA_S = 20.0  # for a request, before its worker counts as hanging
CHROMA_QUERY_S = 0.25  # for a search, before exact comparison answers instead
CHROMA_TRIES = 3  # failures in a row until it is left alone
CHROMA_RETRY_S = 30.0  # until an external server that failed is asked again
CHROMA_FRAME_BYTES = 16 * 1024 * 1024  # of one message from or to its worker

# --- models ---------------------------------------------------------------------------------
SMALL_MODEL = 3_000_000_000  # weights; with fewer it is helped with calls and memory
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
GGUF_LABEL_CHARS = 1000  # of a name, a licence, and whatever else people are shown of a header
GGUF_SECONDS = 30.0  # for a header to be read in its jail; real ones take below a second
GGUF_CPU_SECONDS = 30
GGUF_MEMORY_BYTES = 1 << 30  # for a header of the largest size that is read
GGUF_SAID_BYTES = 8 * 1024 * 1024  # of what is told of a header; its template may take most
GGUF_WHY_CHARS = 300  # of what is said to be wrong with it
GGUF_HEADERS_KEPT = 256  # headers that the cache keeps
PULL_TRIES = 6  # connections in a row without a byte before a download gives up
PULL_BACKOFF_S = 0.5  # before the second try; doubled up to the maximum
PULL_BACKOFF_MAX_S = 20.0
PULL_PROGRESS_S = 0.1  # seconds between two reports of a download's progress
PULL_SPARE_BYTES = 256 * 1024 * 1024  # left free on the disk after a download
PULL_CHUNK_BYTES = 1024 * 1024

# --- importing conversations ----------------------------------------------------------------
IMPORT_RECORDS = 1_000_000  # messages of one conversation
IMPORT_VALUE_CHARS = 64 * 1024 * 1024  # one JSON value of the file
IMPORT_CHUNK_CHARS = 1024 * 1024  # read from it at once
IMPORT_CALLS = 1000  # calls of one message
IMPORT_SOURCES = 100_000  # sources of one label
IMPORT_NAME_CHARS = 4096  # of each of them, and of other short texts

# --- the network ----------------------------------------------------------------------------
NET_AT_ONCE = 8  # requests under way
NET_SECONDS = 20.0  # for one address, redirects and all; less than a call has (CALL_SECONDS)
NET_IDLE_SECONDS = 10.0  # without a byte
NET_CONNECT_SECONDS = 6.0  # to one of a name's addresses
NET_TRIES = 3  # of a name's addresses
NET_REDIRECTS = 5
NET_INTERFACES_SECONDS = 2.0  # that this machine's own addresses are taken for what they were
NET_ADDRESS_CHARS = 4096
NET_HEADER_BYTES = 64 * 1024  # of one answer, together
NET_BODY_BYTES = 16 * 1024 * 1024  # unpacked; twice that on the wire
NET_RATIO = 200  # unpacked to packed, once 1 MB is unpacked
NET_INTERIM = 8  # answers before the answer ("100 Continue")
NET_LOG_BYTES = 4 * 1024 * 1024  # then it is renamed, and the older one goes
NET_TEXT_CHARS = 900_000  # of a page; less than a call may give back (CALL_RESULT_CHARS)
NET_LINKS = 300  # of a page
NET_LINK_CHARS = 200  # of a link's text
NET_FIELDS = 200  # of a page's or document's forms
NET_TITLE_CHARS = 300
NET_OUTLINE_SECONDS = 15.0  # to find a page's title, links and fields
NET_OUTLINE_MB = 512  # memory for that
NET_QUERY_CHARS = 400
NET_HITS = 30  # of one search
NET_HIT_CHARS = 600  # of what a search engine shows of a page

# --- sandbox --------------------------------------------------------------------------------
JAIL_MEMORY_BYTES = 1 << 30  # of one jail, unless its task says otherwise; the same below
JAIL_CPU_SECONDS = 60
JAIL_PROCESSES = 64  # threads count, too
JAIL_OPEN_FILES = 256
JAIL_PENDING_SIGNALS = 1024  # and timers, which count with them; of all programs of the person
JAIL_FILE_BYTES = 256 * 1024 * 1024
JAIL_DISK_BYTES = 512 * 1024 * 1024
JAIL_START_BYTES = 1 << 16  # of files without a name: arguments and filters of a jail that starts
JAIL_TMP_BYTES = 64 * 1024 * 1024  # of /tmp and of /dev/shm, which are memory
JAIL_ENTRY_BYTES = 1024  # that a file or folder counts for besides its content
JAIL_LINE_BYTES = 1 << 20  # of one line read from a jail
JAIL_START_SECONDS = 20.0  # to be set up; takes 0.02 s, a machine that swaps needs longer
JAIL_LOOK_S = 0.05  # between two looks at what a jail uses
JAIL_LOOK_IDLE_S = 0.4  # the same at most, while it computes nothing
JAIL_LOCKS = 10_000  # record locks of all processes of a jail: each takes memory of the kernel
JAIL_LOCKS_READ = 8 << 20  # bytes of the machine's list of them that are looked at
JAIL_LOOK_SHARE = 0.1  # of the time, at most, spent looking
JAIL_KILL_SECONDS = 5.0  # for a jail's supervisor to end what is in it

# --- escape probes --------------------------------------------------------------------------
PROBE_MEMORY_BYTES = 256 * 1024 * 1024  # of a jail that is probed; the same below
PROBE_CPU_SECONDS = 10
PROBE_PROCESSES = 24
PROBE_OPEN_FILES = 64
PROBE_FILE_BYTES = 4 * 1024 * 1024
PROBE_DISK_BYTES = 16 * 1024 * 1024
PROBE_OUTPUT_BYTES = 1024 * 1024
PROBE_TOGETHER_S = 60.0  # for all attempts that share a jail; takes 0.5 s
PROBE_ALONE_S = 4.0  # for one that has its own: who ignores the end, is ended
PROBE_AT_ONCE = 2  # jails at a time
PROBE_START_S = 20.0  # for the program that is attacked to start, and to end
PROBE_SIGNAL_S = 0.05  # for a signal that reached it to be told
PROBE_DEATH_LOOKS = 40  # at whether what was in a jail is dead
PROBE_DEATH_PAUSE_S = 0.05  # between two

# --- decoders in jails ----------------------------------------------------------------------
WORKER_CPU_SECONDS = 24 * 3600  # that a worker may compute in its life; then the next one starts
WORKER_SPARE_MB = 512  # for a worker itself, beside what it may use for one piece of work
PICTURE_BYTES = 32 * 1024 * 1024  # of a picture from outside, and of what is made of it
PICTURE_PIXELS = 64_000_000  # of one that is decoded
PICTURE_SIDE = 2048  # pixels of what is made of it
PICTURE_MEMORY_BYTES = 1 << 30
PICTURE_CPU_SECONDS = 30
PICTURE_SECONDS = 60.0
THUMBNAIL_SIDE = 1024  # pixels of a picture on a terminal: two a cell in height
THUMBNAILS_BYTES = 16 << 20  # of those that are kept, so as not to be decoded again

# --- tools ----------------------------------------------------------------------------------
PREVIEW_CHARS = 200_000  # of what a call would change, as a person is shown it
TOOL_LOAD_SECONDS = 30.0  # to import one tool
TOOL_SECONDS_MAX = 600.0  # longest time limit a manifest may ask for
TOOL_MANIFEST_BYTES = 256 * 1024
TOOL_SOURCE_BYTES = 4 * 1024 * 1024  # one file of a tool
TOOL_EXAMPLES = 200  # entries of a list in a manifest
TOOL_TEXT_CHARS = 2000

# --- experts --------------------------------------------------------------------------------
EXPERT_ARCHIVE_BYTES = 64 * 1024 * 1024  # of an expert as it comes
EXPERT_BYTES = 64 * 1024 * 1024  # of all its files
EXPERT_FILE_BYTES = 16 * 1024 * 1024
EXPERT_FILES = 2000
EXPERT_INDEX_BYTES = 1024 * 1024  # of an archive's list of contents
EXPERT_NAMES_BYTES = 16 * 1024 * 1024  # of the same, as the jail tells it: escaped, as JSON
EXPERT_UNPACK_SECONDS = 60.0
EXPERT_UNPACK_CPU_SECONDS = 30
EXPERT_UNPACK_MEMORY_BYTES = 512 * 1024 * 1024
EXPERT_DEPTH = 8  # folders within folders
EXPERT_PATH_BYTES = 200
EXPERT_MANIFEST_BYTES = 64 * 1024
EXPERT_PROMPT_CHARS = 16_000
EXPERT_TEXT_CHARS = 300  # of a summary, a starter, a licence
EXPERT_ITEMS = 50  # entries of a list in its manifest
EXPERT_TOOLS = 20
EXPERT_PASSAGES = 20_000  # of all its knowledge
EXPERT_MEMORY_MB = 512  # of one call of its tools, where it declares nothing
EXPERT_MEMORY_MB_MAX = 4096
EXPERT_DISK_BYTES = 256 * 1024 * 1024  # that one call may write, gone when it ends
EXPERT_PROCESSES = 64  # processes and threads of one call
EXPERT_OPEN_FILES = 256
EXPERT_SAID_BYTES = 24 * 1024 * 1024  # that one call may tell the kernel, files included
EXPERT_REQUESTS = 200  # of the kernel's services, by one call
EXPERT_REQUESTS_AT_ONCE = 8
EXPERT_PROGRESS = 1000  # reports of progress that are passed on, of one call
EXPERT_ARTIFACTS = 32  # files that one call may make
EXPERT_EVIDENCE = 64  # texts of one call that an answer may cite
EXPERT_SCHEMA_BYTES = 64 * 1024  # of what one call takes
EXPERT_DESCRIBED = 200  # descriptions of tools that the cache keeps
EXPERT_LOG_CHARS = 8000  # of what it says on standard error, kept in the log
EXPERT_END_SECONDS = 2.0  # for a call that nobody waits for to end by itself

# --- granted folders, the clipboard, timers --------------------------------------------------
GRANTED_ENTRIES = 1_000_000  # names looked at for one listing or search
GRANTED_LISTED = 10_000  # entries of one listing
GRANTED_FOUND = 500  # lines of one search
GRANTED_FOUND_CHARS = 300  # of such a line
GRANTED_SEARCH_BYTES = 512 * 1024 * 1024  # read for one search
GRANTED_SECONDS = 20.0  # for one listing or search
GRANTED_FILE_BYTES = 32 * 1024 * 1024  # of a file that is read as text, searched or changed
GRANTED_TEXT_CHARS = 900_000  # of a file's text that is given back
GRANTED_PATH_CHARS = 4096
GRANTED_PATTERN_CHARS = 200
GRANTED_DEPTH = 64  # folders within folders
UNDO_GROUP_CHARS = 64  # of the name of changes that were made in one go
UNDO_CHANGES = 1000  # that are kept; the oldest go first
UNDO_BYTES = 512 * 1024 * 1024  # of files as they were before
UNDO_ENTRY_BYTES = 64 * 1024  # of what is written down about one change
CLIPBOARD_BYTES = 4 * 1024 * 1024
CLIPBOARD_SECONDS = 5.0  # for the desktop's helper to answer
MACHINE_SECONDS = 0.25  # over which it is measured what is busy
MACHINE_PROGRAMS = 5  # the busiest, by name
MACHINE_DISKS = 16
TIMERS_MAX = 1000  # that are still to come, of all processes
TIMERS_PROCESS = 50  # of one of them
TIMERS_NAMED = 12  # ids in a sentence that names those there are
TIMER_CHARS = 1000
TIMER_DAYS = 366 * 10  # ahead
TIMER_LOOK_S = 30.0  # between two looks at the clock, which may be set or have slept
TIMER_AGAIN_S = 60.0  # until a process is woken again that could not be

# --- python ---------------------------------------------------------------------------------
PYTHON_SECONDS = 60.0  # of one call; waiting for the person or for another call does not count
PYTHON_GRACE_SECONDS = 3.0  # after an interrupt, before the session is ended
PYTHON_START_SECONDS = 30.0  # for a session to begin; a machine that swaps needs longer than 0.1 s
PYTHON_SESSIONS = 8  # at once; the one at rest longest makes room
PYTHON_IDLE_SECONDS = 1800.0  # at rest for so long, a session is closed
PYTHON_CODE_CHARS = 200_000
PYTHON_MEMORY_BYTES = 2 << 30  # numpy, pandas and matplotlib take 0.1 GB of it
PYTHON_CPU_SECONDS = 3600  # of a whole session
PYTHON_PROCESSES = 64  # and threads
PYTHON_OPEN_FILES = 256
PYTHON_FILE_BYTES = 256 << 20  # the largest file that code may write
PYTHON_DISK_BYTES = 1 << 30  # all files of a session
PYTHON_MESSAGE_BYTES = 4 << 20  # one message from a session: what it asks, or its error
PYTHON_STRAY = 64  # messages from a session that mean nothing, such as ends of code long over
PYTHON_ASKED = 256  # calls that one piece of code may make
PYTHON_REFUSED = 4096  # questions beyond, each of them refused, before its session is ended
MESSAGE_VALUES = 200_000  # in one message of a jailed program, each within another counted, too
PYTHON_ANSWER_BYTES = 32 << 20  # of what one of them returns
PYTHON_PRINTED_BYTES = 8 << 20  # code that prints more is interrupted
PYTHON_SHOWN_HEAD = 12_000  # bytes shown of the beginning of what was printed
PYTHON_SHOWN_TAIL = 8_000
PYTHON_PUT_BYTES = 64 << 20  # one file put into a session
PYTHON_ARTIFACTS = 16  # files handed over after one call
PYTHON_ARTIFACT_BYTES = 16 << 20  # each
PYTHON_ARTIFACTS_BYTES = 32 << 20  # all of them
PYTHON_FILES_LOOKED = 10_000  # names looked at in a session's folder
PYTHON_FILES_DEPTH = 8
PYTHON_NAME_CHARS = 120  # of a file that is handed over
SUBSET_SECONDS = 5.0
SUBSET_MEMORY_BYTES = 64 << 20
SUBSET_DEPTH = 200  # calls within calls
SUBSET_CODE_CHARS = 20_000
SUBSET_PROCESSES = 2  # workers at once; others wait
SHELL_SECONDS = 60.0
SHELL_COMMAND_CHARS = 20_000
SHELL_MEMORY_BYTES = 2 << 30

# --- citations ------------------------------------------------------------------------------
EVIDENCE_MAX = 1000  # numbers of one conversation
EVIDENCE_A_CALL = 50
EVIDENCE_CHARS = 200_000  # of one text; what is beyond is not cited
EVIDENCE_TITLE_CHARS = 200
EVIDENCE_ADDRESS_CHARS = 2048
CITED_CHARS = 1_000_000  # of all texts that one answer is compared with, the newest first
CITED_SENTENCES = 200  # of one answer
CITED_WORDS = 120  # of one sentence; a longer one of a text is looked at in pieces
CITING_STEPS = 5_000_000  # pairs of words compared for one answer, a second or two
QUOTE_CHARS = 400  # of a text, shown with a citation

# --- trace ----------------------------------------------------------------------------------
TRACE_CALLS = 10_000  # of one answer; older ones are asked for by number
REPLAY_TURNS = 1000  # of one conversation, the first ones

# --- processes ------------------------------------------------------------------------------
CHILDREN_MAX = 8  # living children of one process
DEPTH_MAX = 3  # generations below a process that a person started
TITLE_CHARS = 80
MESSAGE_CHARS = 10_000_000
CLOSE_SECONDS = 5.0  # for running turns to keep what they wrote
STOP_SECONDS = 30.0  # for a kernel to stop; what hangs longer is ended with the process

# --- log ------------------------------------------------------------------------------------
LOG_SAME_S = 60.0  # until what was said already is said again
LOG_LINES = 256  # lines of one logger that are remembered for that

# --- terminals ------------------------------------------------------------------------------
START_SECONDS = 60.0  # for a kernel that was started to say that it loads its model
LOAD_SECONDS = 1800.0  # for another terminal's kernel that loads, or one that stops
GONE_SECONDS = STOP_SECONDS + 5.0  # for a kernel that was asked to stop to be gone
FORGET_SECONDS = 600.0  # for a large journal to be written anew without what was forgotten
ANSWER_SECONDS = 30.0  # for an answer that waits for nothing but the kernel and its disk

# --- sound files ------------------------------------------------------------------------------

SPEECH_CHARS = 100_000  # that are read out in one request
SOUND_SECONDS = 24 * 3600  # of a file; a longer one is refused
SOUND_MEMORY_BYTES = 1 << 30  # of the process that decodes it
SOUND_CPU_SECONDS = 3600  # of the same
SOUND_CHUNK_BYTES = 1 << 20  # that it says at once
SOUND_CHUNK_S = 60.0  # until the next chunk, or it hangs
