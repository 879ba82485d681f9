// The one entrance to the repository: `npm start`, `npm test`, `npm run bench` and their kin come here.
//
// Needs nothing but Node. Brings the tree to where the command can run (dependencies, compiled code, programs of the
// servers), each step only if it is needed, and then hands over. The second time nothing of this touches the network.
// Everything said here goes to stderr, so that stdout is the command's own (`--json` stays JSON).
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { compile } from './bootstrap/compile.mjs'
import { Failure, fail, root, run, say } from './bootstrap/ground.mjs'
import { install } from './bootstrap/install.mjs'
import { test } from './bootstrap/test.mjs'

const oldestNode = [20, 19]
const both = ['postgres', 'redis']

/** What each command needs, and the program it runs. */
const commands = {
  start: {
    program: 'examples/shop/demo.js',
    servers: (args) => (args.some((one) => one.startsWith('--nodes')) ? [...both, 'nats'] : both),
  },
  test: { run: (args) => test(args, false), servers: () => ['postgres', 'redis', 'nats'] },
  'test:full': { run: (args) => test(args, true), servers: () => ['postgres', 'redis', 'nats'] },
  bench: {
    program: 'bench/main.js',
    servers: ([name]) =>
      ({
        wal: ['postgres'],
        streams: ['redis'],
        runtime: [],
        cluster: ['postgres', 'nats'],
        takeover: [...both, 'nats'],
      })[name] ?? both,
  },
  chaos: { program: 'chaos/main.js', servers: () => both },
  simulate: { program: 'chaos/simulate.js', servers: () => [] },
  // `troupe servers` finds its programs itself.
  troupe: { program: 'src/cli/main.js', servers: () => [] },
}

async function main([name, ...args]) {
  refuseOldNode()
  const command = commands[name]
  if (command === undefined)
    fail({
      place: 'scripts/bootstrap.mjs',
      cause: name === undefined ? 'no command was given' : `there is no command '${name}'`,
      remedy: `one of: ${Object.keys(commands).join(', ')}`,
      exitCode: 2,
    })
  await install()
  await compile()
  const program = programOf(name, command)
  await findServers(command.servers(args))
  return command.run === undefined ? run(process.execPath, [program, ...args]) : command.run(args)
}

function programOf(name, command) {
  if (command.program === undefined) return undefined
  const program = join(root, 'dist', command.program)
  if (!existsSync(program))
    fail({
      place: program,
      cause: `'${name}' has no program: ${command.program.replace(/js$/, 'ts')} is not in this tree`,
      remedy: 'check out a commit that has it',
    })
  return program
}

function refuseOldNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return
  fail({
    place: process.execPath,
    cause: `this is Node ${process.versions.node}, and Troupe needs ${oldestNode.join('.')} or newer`,
    remedy: 'install a newer Node, or put one first on PATH',
  })
}

/** Looks before the command runs, so that a download shows here and not as a hang in its middle. */
async function findServers(kinds) {
  if (kinds.length === 0) return
  const { endpointVariableOf, resolveProgram } = await import('../dist/src/servers/index.js')
  for (const kind of kinds) {
    const endpoint = endpointVariableOf(kind)
    if (process.env[endpoint]) say(`${kind}: the server that ${endpoint} names`)
    else await resolveProgram(kind, { report: say })
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error) => {
    const known = error instanceof Failure || error?.name === 'TroupeError'
    if (!known) console.error(error)
    else
      console.error(
        `\nerror: ${error.message}\n  where:  ${error.place ?? 'bootstrap'}\n  remedy: ${error.remedy ?? 'none known'}`,
      )
    process.exitCode = error?.exitCode ?? 1
  },
)
