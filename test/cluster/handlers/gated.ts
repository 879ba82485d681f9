// Passes on keys and numbers without the bulk, one event after the other; stands still while the file in ROOM_GATE exists.
import { existsSync } from 'node:fs'
import { defineProcessor, record } from '../../../src/processor/processor.js'

export default defineProcessor({
  async handle(event, _, { processor, world, signal }) {
    const gate = process.env.ROOM_GATE
    while (processor === 'slow' && gate !== undefined && existsSync(gate) && !signal.aborted)
      await new Promise<void>((resolve) => world.setTimer(20, resolve))
    return record(event, { operation: 'append', value: { n: event.after?.text('n') ?? '' } })
  },
})
