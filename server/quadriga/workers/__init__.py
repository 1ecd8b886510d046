"""The process border: a server process that decides, workers that compute, shared memory and a socket between them.

::

    server process                          |  worker: one process per instance of a model
                                            |
    scheduler                               |
      | lease a slot, copy rows in          |
      v                                     |
    worker.Worker --- RunBatch(slot) -------+--> process.main
      ^                 channel.Channel     |      | views of the slot's inputs
      |                                     |      v
      |                                     |    backends.Backend.infer
      |                                     |      | copy into the slot's outputs
      +------------- BatchDone(slot) -------+------+
      | scheduler answers requests from     |
      | the slot, frees it                  |
      v                                     |
    supervisor.Supervisor: spawns, restarts and stops the workers of one model version

The server process owns every decision, creates the shared memory and reads what workers report. A worker owns one
loaded model; it takes batches in order, one at a time, and knows nothing of requests, queues or gRPC.

- `messages`, `channel`: what crosses the socket, and how. Both sides.
- `slab`: shared memory in slots. Both sides.
- `child`, `boot`, `worker`, `watchdog`, `supervisor`, `template_child`, `templates`: server process.
- `process`: worker.
- `template`: a process that has imported a framework and forks workers of it.
"""
