/** What an onlooker of a cluster makes of the layout in its log. */
import { expect, test } from 'vitest'
import { mustHaveLayout } from '../../src/log/jetstream/layout.js'
import { streamNames } from '../../src/log/jetstream/names.js'
import { simulatedStream } from './simulated-stream.js'

const names = streamNames('shop')
const set = (name: string, partitions: number) => ({ name, partitions, processors: ['copy'] })

test('a file with another number of partitions is refused; a set that the log does not have, or an empty log, is not', async () => {
  const { stream, through } = simulatedStream()
  const look = (...sets: ReturnType<typeof set>[]) => through(mustHaveLayout(stream, names, sets, 'shop'))
  await look(set('key', 8))
  const payload = Buffer.from(JSON.stringify({ version: 1, protocol: 1, sets: { key: 16 } }))
  await through(stream.commit([{ subject: names.layout, payload, expect: 0, rollup: true }], 5_000))
  await look(set('key', 16), set('global', 1))
  await expect(look(set('key', 8))).rejects.toMatchObject({
    code: 'cluster-layout',
    exitCode: 2,
    message: expect.stringContaining('the log has 16 partitions in set key, this pipeline 8'),
  })
})
