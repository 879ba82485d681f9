// A bare node-redis loop: XREADGROUP COUNT 1000, the handler, XACK.
import { createClient } from 'redis'
import { createTallier, printTally, watchFirstAsk } from './tally.mjs'

const { url, stream, group, count, shape } = JSON.parse(process.argv[2])
const began = watchFirstAsk('XREAD')
const redis = await createClient({ url }).connect()
const tallier = createTallier(shape)
let done = 0
while (done < shape.total) {
  const reply = await redis.xReadGroup(group, 'peer', { key: stream, id: '>' }, { COUNT: count })
  const entries = reply?.[0]?.messages ?? []
  const ids = []
  for (const { id, message } of entries) {
    tallier.add(Number(message.key), Number(message.counter), Number(message.amount))
    ids.push(id)
  }
  if (ids.length > 0) await redis.xAck(stream, group, ids)
  done += ids.length
}
printTally(tallier.result(), began())
redis.destroy()
