// A bare ioredis loop: XREADGROUP COUNT 1000, the handler, XACK.
import { Redis } from 'ioredis'
import { createTallier, printTally, watchFirstAsk } from './tally.mjs'

const { url, stream, group, count, shape } = JSON.parse(process.argv[2])
const began = watchFirstAsk('XREAD')
const redis = new Redis(url)
const tallier = createTallier(shape)
let done = 0
while (done < shape.total) {
  const reply = await redis.xreadgroup('GROUP', group, 'peer', 'COUNT', count, 'STREAMS', stream, '>')
  const entries = reply?.[0]?.[1] ?? []
  const ids = []
  for (const [id, fields] of entries) {
    const entry = {}
    for (let at = 0; at < fields.length; at += 2) entry[fields[at]] = fields[at + 1]
    tallier.add(Number(entry.key), Number(entry.counter), Number(entry.amount))
    ids.push(id)
  }
  if (ids.length > 0) await redis.xack(stream, group, ...ids)
  done += ids.length
}
printTally(tallier.result(), began())
redis.disconnect()
