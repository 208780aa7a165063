//! Sender: which spooled batch goes out next, and what its verdict means for the job, as a state machine.
