// The peers prove their work as everyone does.
export { print, printTally } from '../../dist/bench/harness/finish.js'
export { watchFirstAsk } from '../../dist/bench/harness/first-ask.js'
export { createTallier, join } from '../../dist/bench/harness/tally.js'
export { proveStream, watchStream } from '../../dist/bench/workload/sink-stream.js'
