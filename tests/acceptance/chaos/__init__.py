"""The service under faults: real processes, real servers, fixed seeds.

    servers.py      Postgres and Redis of one's own, which may be killed
    proxy.py        between the service and Redis: loses, doubles and delays messages
    mailbox.py      the same for the folders of the embedded broker
    material.py     a tiny model, data sets, specs, and the weights that each spec must give
    world.py        the service, as it is deployed and as it is embedded; kills and restarts
    batch.py        short jobs: submitted, cancelled and awaited over REST
    faults.py       what goes wrong, and how its end is seen
    audit.py        a log that Postgres itself keeps of who wrote what
    invariants.py   what must hold afterwards
    trial.py        one fault over one batch, and its row of the table

`test_chaos.py` runs small batches; `benchmarks/chaos.py` runs those of 30 jobs.
"""
