"""Every number that bounds anything, in one place.

A person's settings are in ``config.py``; what is here is what llmos never exceeds whatever the
settings say, and the constants of its mechanisms. Units stand in the names or the comments.
"""

from __future__ import annotations

__all__: list[str] = []  # read as limits.NAME

# --- engine ---------------------------------------------------------------------------------
STEP_TARGET_MS = 100.0  # a step's length while anybody waits
STEP_TARGET_IDLE_MS = 50.0  # the same when only idle work runs: a person may arrive at any moment
PREFILL_CHUNK_MIN = 16  # tokens; smaller chunks cost more in overhead than they save in latency
BATCH_TOKENS = 512  # tokens llama.cpp takes in one decode
SLOTS = 64  # sequences resident at once (llama.cpp allows 256)
SLOTS_RECURRENT = 8  # the same where every slot owns a whole recurrent state
AGING_S = 1.0  # seconds after which a passed-over sequence gets one step of its own
FLUSH_MS = 30.0  # text leaves the engine at most this often, times the number of streams
FLUSH_MAX_MS = 150.0
THREAD_PROBE_STEPS = 4  # steps measured at the other thread count
THREAD_PROBE_MIN_S = 1.0  # seconds between two probes, doubled while the present count wins
THREAD_PROBE_MAX_S = 16.0
THREAD_SWITCH_GAIN = 1.10  # another thread count must be this much faster to be taken
LOGPROBS_MAX = 20
STOP_STRINGS_MAX = 16
STOP_STRING_CHARS = 512
N_MAX = 64  # parallel completions of one prompt
GRAMMAR_BYTES = 256 * 1024
KNOWN_TEXTS = 512  # token sequences remembered by the text they spell

# --- templates ------------------------------------------------------------------------------
TEMPLATE_CHARS = 256 * 1024
TEMPLATE_SECONDS = 2.0
TEMPLATE_MEMORY_MB = 256
TEMPLATE_OUTPUT_CHARS = 64 * 1024 * 1024

# --- agent ----------------------------------------------------------------------------------
ROUNDS_MAX = 8  # model → calls → model, in one turn
SAME_CALL_MAX = 3  # the same call with the same arguments in one turn
CALLS_PARALLEL_MAX = 8
CALL_SECONDS = 30.0
CALL_RESULT_CHARS = 1_000_000
MAILBOX_MAX = 256

# --- server ---------------------------------------------------------------------------------
BODY_BYTES = 32 * 1024 * 1024
MESSAGES_MAX = 10_000
EVENT_BACKLOG = 4096  # events kept for one slow terminal before it is dropped

# --- store ----------------------------------------------------------------------------------
STORE_FREE_BYTES = 32 * 1024 * 1024  # below this the journal refuses new work, while it still can
