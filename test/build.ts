// Compiles the tree before the tests: worker threads and child processes load dist/, never the sources.
import { execFileSync } from 'node:child_process'

export default function build(): void {
  execFileSync('npx', ['tsc', '-p', 'tsconfig.json', '--noCheck'], { stdio: 'inherit' })
}
