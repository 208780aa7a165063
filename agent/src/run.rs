//! run: joins the machines, the threads and the queues; the only file that knows them all.
