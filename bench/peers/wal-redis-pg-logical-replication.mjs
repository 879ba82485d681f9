// pg-logical-replication with its flow control, and XADD pipelined by 100 through ioredis.
import { Redis } from 'ioredis'
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication'
import { print, proveStream, watchFirstAsk, watchStream } from './tally.mjs'

const { url, slot, publication, redis: redisUrl, stream, shape } = JSON.parse(process.argv[2])
const redis = new Redis(redisUrl)
const watched = watchStream(redisUrl, stream, shape, watchFirstAsk('START_REPLICATION'))
const service = new LogicalReplicationService(
  { connectionString: url },
  { acknowledge: { auto: true, timeoutSeconds: 10 }, flowControl: { enabled: true } },
)
let batch = redis.pipeline()
let count = 0
service.on('data', async (_lsn, message) => {
  if (message.tag !== 'update') return
  const fields = ['op', message.tag]
  for (const name in message.new) fields.push(name, String(message.new[name]))
  batch.xadd(stream, '*', ...fields)
  count++
  if (count % 100 !== 0 && count < shape.total) return
  const full = batch
  batch = redis.pipeline()
  await full.exec()
})
service.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] }), slot).catch((error) => {
  console.error(error)
  process.exit(1)
})
const seen = await watched
print({ ...seen, tally: await proveStream(redisUrl, stream, shape) })
process.exit(0)
