"""The API as one table: every operation once, for the server's routes, the clients and the OpenAPI document alike.

A request's fields travel in the path (where the template names them), then in the query string (GET, DELETE) or in the
JSON body (POST, PUT). A call that changes something may carry an operation id; repeated with the same id it gets the
same answer.
"""

from __future__ import annotations

from roost.wire import (
    attempts,
    batches,
    bulk,
    events,
    flow,
    holds,
    jobs,
    kinds,
    limits,
    outboxes,
    queues,
    schedules,
    search,
    server,
    why,
)
from roost.wire.codec import Wire
from roost.wire.hook_operations import DELETE_SOURCE as DELETE_SOURCE
from roost.wire.hook_operations import DELETE_WEBHOOK as DELETE_WEBHOOK
from roost.wire.hook_operations import DISABLE_WEBHOOK as DISABLE_WEBHOOK
from roost.wire.hook_operations import ENABLE_WEBHOOK as ENABLE_WEBHOOK
from roost.wire.hook_operations import GET_DELIVERY as GET_DELIVERY
from roost.wire.hook_operations import GET_SOURCE as GET_SOURCE
from roost.wire.hook_operations import GET_WEBHOOK as GET_WEBHOOK
from roost.wire.hook_operations import HOOKS
from roost.wire.hook_operations import LIST_DELIVERIES as LIST_DELIVERIES
from roost.wire.hook_operations import LIST_SOURCES as LIST_SOURCES
from roost.wire.hook_operations import LIST_WEBHOOKS as LIST_WEBHOOKS
from roost.wire.hook_operations import PUT_SOURCE as PUT_SOURCE
from roost.wire.hook_operations import PUT_WEBHOOK as PUT_WEBHOOK
from roost.wire.hook_operations import REPLAY_DELIVERY as REPLAY_DELIVERY
from roost.wire.hook_operations import REPLAY_WEBHOOK as REPLAY_WEBHOOK
from roost.wire.hook_operations import ROTATE_WEBHOOK as ROTATE_WEBHOOK
from roost.wire.hook_operations import TEST_WEBHOOK as TEST_WEBHOOK
from roost.wire.operation import OPERATION_HEADER as OPERATION_HEADER
from roost.wire.operation import OPERATION_PATTERN as OPERATION_PATTERN
from roost.wire.operation import PREFIX as PREFIX
from roost.wire.operation import Lane as Lane
from roost.wire.operation import Operation as Operation

ENQUEUE = Operation("jobs.enqueue", "POST", "/jobs", jobs.NewJob, jobs.Enqueued, "enqueue", "Enqueue a job", 201)
ENQUEUE_MANY = Operation(
    "jobs.enqueue_many",
    "POST",
    "/jobs/batch",
    jobs.EnqueueJobs,
    jobs.EnqueuedJobs,
    "enqueue",
    "Enqueue many jobs in one transaction",
    201,
)
CLAIM = Operation(
    "jobs.claim", "POST", "/jobs/claim", attempts.ClaimJobs, attempts.Claimed, "claim", "Claim jobs to run"
)
SETTLE = Operation(
    "jobs.settle", "POST", "/jobs/settle", attempts.SettleJobs, attempts.SettledJobs, "settle", "End attempts"
)
HEARTBEAT = Operation(
    "jobs.heartbeat",
    "POST",
    "/jobs/heartbeat",
    attempts.Heartbeat,
    attempts.HeartbeatReply,
    "settle",
    "Renew leases; report progress, state and log lines; learn of cancels",
)
RECORD_STEP = Operation(
    "jobs.record_step",
    "POST",
    "/jobs/{id}/steps",
    attempts.RecordStep,
    attempts.RecordedStep,
    "settle",
    "Record a step once",
)
STEPS = Operation(
    "jobs.steps", "GET", "/jobs/{id}/steps", jobs.JobRef, attempts.Steps, "read", "A job's recorded steps"
)
GET_JOB = Operation("jobs.get", "GET", "/jobs/{id}", jobs.JobRef, jobs.Job, "read", "A job, whole")
WAIT_JOB = Operation("jobs.wait", "GET", "/jobs/{id}/wait", jobs.WaitJob, jobs.Job, "read", "Wait for a job's end")
LIST_JOBS = Operation("jobs.list", "GET", "/jobs", jobs.ListJobs, jobs.JobPage, "read", "A page of jobs, newest first")
JOB_EVENTS = Operation(
    "jobs.events", "GET", "/jobs/{id}/events", jobs.JobRef, jobs.JobEvents, "read", "A job's history"
)
JOB_LOGS = Operation("jobs.logs", "GET", "/jobs/{id}/logs", jobs.ListLogs, jobs.LogPage, "read", "A job's log lines")
EXPLAIN_JOB = Operation(
    "jobs.explain", "GET", "/jobs/{id}/explain", jobs.JobRef, jobs.Explanation, "read", "Why a job is where it is"
)
WHY_JOB = Operation("jobs.why", "GET", "/jobs/{id}/why", jobs.JobRef, why.Why, "read", "What a job waits for")
CANCEL_JOB = Operation(
    "jobs.cancel", "POST", "/jobs/{id}/cancel", jobs.CancelJob, jobs.JobSummary, "write", "Cancel a job"
)
REOPEN_JOB = Operation(
    "jobs.reopen", "POST", "/jobs/{id}/reopen", jobs.ReopenJob, jobs.JobSummary, "write", "Run a terminal job again"
)
MOVE_JOB = Operation(
    "jobs.move",
    "POST",
    "/jobs/{id}/move",
    jobs.MoveJob,
    jobs.JobSummary,
    "write",
    "Another queue, priority or time for a job that has not started",
)
RUN_JOB = Operation(
    "jobs.run_now", "POST", "/jobs/{id}/run", jobs.RunJob, jobs.JobSummary, "write", "Wait for no time any more"
)
HOLD_JOB = Operation(
    "jobs.hold",
    "POST",
    "/jobs/{id}/hold",
    jobs.HoldJob,
    jobs.JobSummary,
    "write",
    "Hold a job that has not started until somebody approves",
)
CLONE_JOB = Operation(
    "jobs.clone", "POST", "/jobs/{id}/clone", jobs.CloneJob, jobs.Enqueued, "enqueue", "A new job like an old one", 201
)
EDIT_JOB = Operation(
    "jobs.edit", "PUT", "/jobs/{id}/labels", jobs.EditJob, jobs.JobSummary, "write", "Change tags, owner or metadata"
)
NOTE_JOB = Operation(
    "jobs.note", "POST", "/jobs/{id}/notes", jobs.NoteJob, jobs.JobSummary, "write", "A line for a job's history", 201
)
TAKE_JOB = Operation(
    "jobs.take", "POST", "/jobs/{id}/take", jobs.TakeJob, jobs.TakenJob, "write", "Start a tracked attempt by hand"
)
UPDATE_JOB = Operation(
    "jobs.update",
    "POST",
    "/jobs/{id}/update",
    jobs.UpdateJob,
    jobs.JobSummary,
    "write",
    "Tell what became of a tracked attempt",
)
JOB_CHUNKS = Operation(
    "jobs.chunks", "GET", "/jobs/{id}/chunks", jobs.ListChunks, jobs.ChunkPage, "read", "A job's result, chunk by chunk"
)
DELETE_JOB = Operation(
    "jobs.delete", "DELETE", "/jobs/{id}", jobs.JobRef, jobs.Empty, "write", "Delete a job that is not running"
)

LIST_EVENTS = Operation(
    "events.list",
    "GET",
    "/events",
    events.ListEvents,
    events.EventPage,
    "read",
    "What happened, in the order of commits",
)

JOB_DEPENDENCIES = Operation(
    "jobs.dependencies",
    "GET",
    "/jobs/{id}/dependencies",
    flow.ListDependencies,
    flow.DependencyPage,
    "read",
    "The jobs it waits for, or waited for",
)
JOB_CHILDREN = Operation(
    "jobs.children", "GET", "/jobs/{id}/children", flow.ListChildren, jobs.JobPage, "read", "A job's children"
)

CREATE_BATCH = Operation(
    "batches.create",
    "POST",
    "/batches",
    batches.NewBatch,
    batches.Batch,
    "write",
    "Jobs that belong together, and what follows their end",
    201,
)
LIST_BATCHES = Operation(
    "batches.list", "GET", "/batches", batches.ListBatches, batches.BatchPage, "read", "Batches, newest first"
)
GET_BATCH = Operation(
    "batches.get", "GET", "/batches/{id}", batches.BatchRef, batches.Batch, "read", "A batch and how far it is"
)
SEAL_BATCH = Operation(
    "batches.seal", "POST", "/batches/{id}/seal", batches.BatchRef, batches.Batch, "write", "No more jobs join"
)
CANCEL_BATCH = Operation(
    "batches.cancel",
    "POST",
    "/batches/{id}/cancel",
    batches.CancelBatch,
    batches.Batch,
    "write",
    "Seal it and cancel all its jobs",
)
SEND_SIGNAL = Operation(
    "signals.send",
    "POST",
    "/signals/{name}",
    flow.NewSignal,
    flow.SentSignal,
    "write",
    "Wake jobs that wait for it",
    201,
)

SEARCH_JOBS = Operation(
    "jobs.search", "POST", "/jobs/search", search.SearchJobs, search.SearchPage, "read", "Jobs that match a query"
)
CHECK_QUERY = Operation(
    "jobs.check_query",
    "POST",
    "/jobs/search/explain",
    search.CheckQuery,
    search.CheckedQuery,
    "read",
    "What a query means, and how it is answered",
)
JOB_FACETS = Operation(
    "jobs.facets", "GET", "/jobs/facets", search.ListFacets, search.Facets, "read", "Values to complete a query with"
)

LIST_ERRORS = Operation(
    "errors.list", "GET", "/errors", search.ListErrors, search.ErrorPage, "read", "Errors that are alike, in groups"
)
GET_ERROR = Operation(
    "errors.get", "GET", "/errors/{fingerprint}", search.ErrorRef, search.ErrorDetail, "read", "A group of errors"
)
MUTE_ERROR = Operation(
    "errors.mute", "POST", "/errors/{fingerprint}/mute", search.ErrorRef, search.ErrorGroup, "write", "Mute a group"
)
RESOLVE_ERROR = Operation(
    "errors.resolve",
    "POST",
    "/errors/{fingerprint}/resolve",
    search.ErrorRef,
    search.ErrorGroup,
    "write",
    "It is repaired; open again when it comes back",
)
REOPEN_ERROR = Operation(
    "errors.reopen", "POST", "/errors/{fingerprint}/reopen", search.ErrorRef, search.ErrorGroup, "write", "Open a group"
)
RETRY_ERROR = Operation(
    "errors.retry",
    "POST",
    "/errors/{fingerprint}/retry",
    search.ErrorRef,
    bulk.BulkStarted,
    "write",
    "Run its failed jobs again, in bulk",
    201,
)

LIST_VIEWS = Operation("views.list", "GET", "/views", jobs.Empty, search.Views, "read", "Saved queries")
GET_VIEW = Operation("views.get", "GET", "/views/{name}", search.ViewRef, search.View, "read", "A saved query")
PUT_VIEW = Operation("views.put", "PUT", "/views/{name}", search.PutView, search.View, "write", "Save a query")
DELETE_VIEW = Operation(
    "views.delete", "DELETE", "/views/{name}", search.ViewRef, jobs.Empty, "write", "Forget a saved query"
)

LIST_INDEXES = Operation(
    "indexes.list", "GET", "/indexes", jobs.Empty, search.Indexes, "read", "Indexed paths of inputs"
)
DECLARE_INDEX = Operation(
    "indexes.declare", "POST", "/indexes", search.DeclareIndex, search.Indexes, "write", "Index a path of inputs"
)
REMOVE_INDEX = Operation(
    "indexes.remove", "POST", "/indexes/remove", search.RemoveIndex, search.Indexes, "write", "Index it no more"
)

CREATE_BULK = Operation(
    "bulk.create",
    "POST",
    "/bulk",
    bulk.CreateBulk,
    bulk.BulkStarted,
    "write",
    "Do something to all jobs that match a query",
    201,
)
LIST_BULKS = Operation("bulk.list", "GET", "/bulk", bulk.ListBulks, bulk.Bulks, "read", "Bulk operations, last first")
GET_BULK = Operation("bulk.get", "GET", "/bulk/{id}", bulk.BulkRef, bulk.Bulk, "read", "How far it is")
BULK_RESULTS = Operation(
    "bulk.results",
    "GET",
    "/bulk/{id}/results",
    bulk.ListBulkResults,
    bulk.BulkResults,
    "read",
    "Jobs it skipped or failed on, and why",
)
PAUSE_BULK = Operation(
    "bulk.pause", "POST", "/bulk/{id}/pause", bulk.BulkRef, bulk.Bulk, "write", "Begin no further set"
)
RESUME_BULK = Operation("bulk.resume", "POST", "/bulk/{id}/resume", bulk.BulkRef, bulk.Bulk, "write", "Go on")
ABORT_BULK = Operation(
    "bulk.abort", "POST", "/bulk/{id}/abort", bulk.BulkRef, bulk.Bulk, "write", "End it; what is done stays done"
)

LIST_QUEUES = Operation(
    "queues.list", "GET", "/queues", jobs.Empty, queues.Queues, "read", "All queues and their counts"
)
GET_QUEUE = Operation("queues.get", "GET", "/queues/{name}", queues.QueueRef, queues.Queue, "read", "A queue")
PAUSE_QUEUE = Operation(
    "queues.pause",
    "POST",
    "/queues/{name}/pause",
    queues.PauseQueue,
    queues.Queue,
    "write",
    "Start none of its jobs",
)
RESUME_QUEUE = Operation(
    "queues.resume", "POST", "/queues/{name}/resume", queues.PauseQueue, queues.Queue, "write", "Start its jobs again"
)
DRAIN_QUEUE = Operation(
    "queues.drain",
    "POST",
    "/queues/{name}/drain",
    queues.DrainQueue,
    queues.Drained,
    "write",
    "Pause, and wait until its last running job has ended",
)
CLEAR_QUEUE = Operation(
    "queues.clear",
    "POST",
    "/queues/{name}/clear",
    queues.ClearQueue,
    queues.Cleared,
    "write",
    "Delete its jobs that do not run",
)
DESTROY_QUEUE = Operation(
    "queues.destroy",
    "POST",
    "/queues/{name}/destroy",
    queues.DestroyQueue,
    queues.Cleared,
    "write",
    "Delete all its jobs and its rules",
)
EDIT_QUEUE = Operation(
    "queues.edit", "PUT", "/queues/{name}/rules", queues.EditQueue, queues.Queue, "write", "Set a queue's rules"
)

LIST_KINDS = Operation("kinds.list", "GET", "/kinds", jobs.Empty, kinds.KindSchemas, "read", "Kinds that have a schema")
GET_KIND = Operation("kinds.get", "GET", "/kinds/{name}", kinds.KindRef, kinds.KindSchema, "read", "A kind's schema")
PUT_KIND = Operation(
    "kinds.put",
    "PUT",
    "/kinds/{name}",
    kinds.PutKind,
    kinds.KindSchema,
    "write",
    "Give a kind a schema its inputs must fit",
)
DELETE_KIND = Operation(
    "kinds.delete", "DELETE", "/kinds/{name}", kinds.KindRef, jobs.Empty, "write", "Take a kind's schema away"
)

LIST_LIMITS = Operation(
    "limits.list", "GET", "/limits", limits.ListLimits, limits.LimitPage, "read", "Limits by key, and what is taken"
)
EDIT_LIMIT = Operation(
    "limits.edit", "PUT", "/limits/{key}", limits.EditLimit, limits.Limiter, "write", "Set what a key allows"
)

LIST_SCHEDULES = Operation(
    "schedules.list", "GET", "/schedules", jobs.Empty, schedules.Schedules, "read", "All schedules"
)
GET_SCHEDULE = Operation(
    "schedules.get", "GET", "/schedules/{name}", schedules.ScheduleRef, schedules.Schedule, "read", "A schedule"
)
PUT_SCHEDULE = Operation(
    "schedules.put",
    "PUT",
    "/schedules/{name}",
    schedules.PutSchedule,
    schedules.Schedule,
    "write",
    "Create or edit a schedule",
)
PREVIEW_RULE = Operation(
    "schedules.preview_rule",
    "POST",
    "/schedules/preview",
    schedules.PreviewRule,
    schedules.Preview,
    "read",
    "The next fires of a rule, before it is stored",
)
PREVIEW_SCHEDULE = Operation(
    "schedules.preview",
    "GET",
    "/schedules/{name}/preview",
    schedules.PreviewSchedule,
    schedules.Preview,
    "read",
    "A schedule's next fires",
)
PAUSE_SCHEDULE = Operation(
    "schedules.pause",
    "POST",
    "/schedules/{name}/pause",
    schedules.ScheduleRef,
    schedules.Schedule,
    "write",
    "Fire no more; the next fire is kept",
)
RESUME_SCHEDULE = Operation(
    "schedules.resume",
    "POST",
    "/schedules/{name}/resume",
    schedules.ScheduleRef,
    schedules.Schedule,
    "write",
    "Fire again",
)
RUN_SCHEDULE = Operation(
    "schedules.run",
    "POST",
    "/schedules/{name}/run",
    schedules.ScheduleRef,
    jobs.Enqueued,
    "write",
    "Fire now; the next fire is not shifted",
    201,
)
BACKFILL_SCHEDULE = Operation(
    "schedules.backfill",
    "POST",
    "/schedules/{name}/backfill",
    schedules.BackfillSchedule,
    schedules.Backfilled,
    "write",
    "Make the jobs of instants of the past",
)
DELETE_SCHEDULE = Operation(
    "schedules.delete",
    "DELETE",
    "/schedules/{name}",
    schedules.ScheduleRef,
    jobs.Empty,
    "write",
    "Delete a schedule; its jobs and runs stay",
)
LIST_RUNS = Operation(
    "schedules.runs",
    "GET",
    "/schedules/{name}/runs",
    schedules.ListRuns,
    schedules.Runs,
    "read",
    "Its fires, last first",
)

LIST_HOLDS = Operation("holds.list", "GET", "/holds", holds.ListHolds, holds.HoldPage, "read", "Questions to people")
GET_HOLD = Operation("holds.get", "GET", "/holds/{id}", holds.HoldRef, holds.Hold, "read", "A hold with its subject")
APPROVE_HOLD = Operation(
    "holds.approve", "POST", "/holds/{id}/approve", holds.DecideHold, holds.Hold, "write", "Let the job go on"
)
DENY_HOLD = Operation("holds.deny", "POST", "/holds/{id}/deny", holds.DecideHold, holds.Hold, "write", "Fail the job")
ANSWER_HOLD = Operation(
    "holds.answer", "POST", "/holds/{id}/answer", holds.AnswerHold, holds.Hold, "write", "Answer, and let the job go on"
)
EXTEND_HOLD = Operation(
    "holds.extend", "POST", "/holds/{id}/extend", holds.ExtendHold, holds.Hold, "write", "Move the deadline"
)

LIST_WORKERS = Operation(
    "workers.list", "GET", "/workers", jobs.Empty, attempts.Workers, "read", "Workers heard of lately"
)
REGISTER_WORKER = Operation(
    "workers.register",
    "PUT",
    "/workers/{id}",
    attempts.Register,
    jobs.Empty,
    "settle",
    "A worker says who it is",
)

DRAIN_WORKER = Operation(
    "workers.drain",
    "POST",
    "/workers/{id}/drain",
    attempts.WorkerRef,
    jobs.Empty,
    "write",
    "Let a worker end its jobs, and then itself",
)

DELIVER_OUTBOX = Operation(
    "outboxes.deliver",
    "PUT",
    "/outboxes/{outbox}/batches/{number}",
    outboxes.DeliverOutbox,
    jobs.EnqueuedJobs,
    "enqueue",
    "Store a relay's batch of jobs once, however often it is sent",
)

LIVE = Operation("health.live", "GET", "/health/live", jobs.Empty, server.Health, "read", "The process answers")
READY = Operation("health.ready", "GET", "/health/ready", jobs.Empty, server.Health, "read", "The store answers")
INFO = Operation("server.info", "GET", "/info", jobs.Empty, server.Info, "read", "Versions and the guarantee in force")

OPERATIONS: tuple[Operation[Wire, Wire], ...] = (
    *(value for value in globals().values() if isinstance(value, Operation) and value not in HOOKS),
    *HOOKS,
)
"""All of them, in the order they are documented."""
