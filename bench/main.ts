/** Runs the benches that are named, or all:  npm run bench [program] [hello] [stop] [streams] */

import { hello } from './hello.ts'
import { program } from './program.ts'
import { stop } from './stop.ts'
import { streams } from './streams.ts'

const benches: Record<string, () => Promise<void>> = { program, hello, stop, streams }

const wanted = process.argv.slice(2)
for (const name of wanted) {
  if (benches[name] === undefined) {
    console.error(
      `There is no bench ${JSON.stringify(name)}: choose from ${Object.keys(benches).join(', ')}`,
    )
    process.exit(1)
  }
}
for (const [name, bench] of Object.entries(benches)) {
  if (wanted.length === 0 || wanted.includes(name)) await bench()
}
