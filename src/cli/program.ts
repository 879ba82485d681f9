/**
 * The command line: its commands, and how every way of ending becomes an exit code: 0 done, 1 the work failed, 2 usage
 * or configuration.
 */
import { Argument, Command, CommanderError, InvalidArgumentError } from 'commander'
import { TroupeError } from '../world/error.js'
import {
  drainCommand,
  pauseCommand,
  resumeCommand,
  retireCommand,
  rollingCommand,
  seekCommand,
  whyCommand,
} from './cluster-commands.js'
import { explainCommand } from './explain-command.js'
import { exitCodeOf, failureText } from './failure.js'
import { statusCommand, treeCommand } from './node-commands.js'
import { runCommand } from './run-command.js'
import type { ServersArguments } from './servers-command.js'
import { validateCommand } from './validate-command.js'

/** Commands of the whole command line that this version does not have. */
const later = ['top', 'dead-letters', 'snapshot'] as const

/** Runs one command; never throws. @param args without the program's name */
export async function runProgram(args: readonly string[], version: string): Promise<0 | 1 | 2> {
  const program = makeProgram(version)
  try {
    await program.parseAsync([...args], { from: 'user' })
    return 0
  } catch (error) {
    // Commander has printed its own message.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    process.stderr.write(failureText(error, args.includes('--verbose')))
    return exitCodeOf(error)
  }
}

function makeProgram(version: string): Command {
  const program = new Command('troupe')
    .description(
      'Change data capture by supervised actors: PostgreSQL and Redis events, in order, to processors and sinks.',
    )
    .version(version)
    .option('--verbose', 'print the stack of an error')
  const commands = [
    runCommand(version),
    validateCommand(),
    explainCommand(),
    statusCommand(),
    treeCommand(),
    drainCommand(),
    pauseCommand(),
    resumeCommand(),
    rollingCommand(),
    seekCommand(),
    retireCommand(),
    whyCommand(),
    serversOf(),
    ...later.map(laterCommand),
  ]
  for (const command of commands) program.addCommand(command, { hidden: later.some((name) => name === command.name()) })
  for (const command of [program, ...commands]) strict(command)
  return program
}

/** `troupe servers [ACTION] [KIND…]`; its parts are loaded only when it is called. */
function serversOf(): Command {
  return new Command('servers')
    .description('PostgreSQL, Redis and NATS for development and tests')
    .addArgument(
      new Argument('[action]', 'start them until interrupted, find their programs, list or reap those that run')
        .choices(['start', 'find', 'list', 'reap'])
        .default('start'),
    )
    .argument('[kinds...]', 'postgres, redis, nats; all without it')
    .option('--directory <directory>', 'start: where data are kept between runs')
    .option('--nats-servers <number>', 'start: how many servers of NATS, as one cluster', natsServersOption)
    .option('--json', 'as JSON')
    .action(
      async (
        action: ServersArguments['action'],
        kinds: string[],
        flags: Omit<ServersArguments, 'action' | 'kinds'>,
      ) => {
        const { serversCommand } = await import('./servers-command.js')
        await serversCommand({ action, kinds, ...flags })
      },
    )
}

function natsServersOption(text: string): number {
  if (!/^[1-9]$/.test(text)) throw new InvalidArgumentError('A whole number from 1 to 9.')
  return Number(text)
}

function laterCommand(name: string): Command {
  return new Command(name)
    .argument('[arguments...]')
    .allowUnknownOption()
    .action(() => {
      throw new TroupeError({
        code: 'not-in-this-version',
        message: `troupe ${name} is not in this version`,
        remedy: '`troupe --help` lists the commands that are',
        exitCode: 2,
      })
    })
}

/** Ends by an exception instead of the process, with errors in the house's shape. */
function strict(command: Command): void {
  command.exitOverride().showSuggestionAfterError()
  command.configureOutput({
    outputError: (text, write) => write(text.replace(/^error: /, 'error[usage]: ')),
  })
  for (const child of command.commands) strict(child)
}
