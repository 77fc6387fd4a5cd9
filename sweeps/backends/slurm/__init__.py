"""Pools of workers that come and go, on a SLURM cluster or open to other machines.

====================  ============================================================================
``config.py``         the cluster file: what a worker and the head's job ask SLURM for
``validate.py``       checks the cluster file against what sinfo prints
``commands.py``       sinfo, squeue, scontrol, scancel, each with a time limit
``durations.py``      durations as SLURM writes them
``submission.py``     submission through submitit
``code_snapshot.py``  the code as it was when the sweep was submitted
``state_files.py``    the files by which head, workers and people find each other
``status_file.py``    ``status.json``, which the head's job replaces while the sweep runs
``status.py``         a submitted sweep, read from its files and from SLURM's queue
``allocation.py``     what SLURM gave this job, never the node's own figures
``network.py``        the address of this node
``ray_node.py``       Ray's processes of one node, in a session of their own
``preemption.py``     when a job has to end: before its wall time is over, or by a signal
``driver_job.py``     the head's job: Ray's head and the sweep's driver
``backend.py``        the driver's side: Ray's address, and the workers of a pool
``elastic_jobs.py``   the driver's side: submission and release of jobs
``autoscaling.py``    how many workers there should be
``keeper.py``         a worker's side: joins its machine's Ray to one head after another
``worker_job.py``     a worker's job
``volunteer.py``      a worker that is no job: ``care worker``
``open_backend.py``   a pool without SLURM: ``care sweep run --open``
====================  ============================================================================
"""
