/** The command line in this process, with what it says: one command at a time. */
import { vi } from 'vitest'
import { runProgram } from '../../src/cli/program.js'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

export async function captured(args: readonly string[]): Promise<Said> {
  let out = ''
  let err = ''
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text)
      return true
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      err += String(text)
      return true
    }),
  ]
  try {
    const code = await runProgram(args, '0.0.0')
    return { code, out, err }
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}
