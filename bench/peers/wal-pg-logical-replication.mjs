// pg-logical-replication with a bare handler: its own decoding, its own acknowledgements.
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import { createTallier, printTally, watchFirstAsk } from './tally.mjs'

const { url, slot, publication, shape } = JSON.parse(process.argv[2])
const began = watchFirstAsk('START_REPLICATION')
const tallier = createTallier(shape)
const service = new LogicalReplicationService({ connectionString: url }, { acknowledge: { auto: true, timeoutSeconds: 10 } })
let count = 0
service.on('data', (_lsn, message) => {
  if (message.tag !== 'update') return
  const { key, counter, amount } = message.new
  tallier.add(key, counter, amount)
  if (++count < shape.total) return
  printTally(tallier.result(), began())
  process.exit(0)
})
service.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
await service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), slot)
