package holder

// lastBeforeUnified is Linux 4.18's rseq; the numbers up to 423 stay unused.
const lastBeforeUnified = 293
