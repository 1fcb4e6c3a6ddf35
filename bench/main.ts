/** Runs the benches that are named.
 *
 *   npm run bench                       lists them
 *   npm run bench hello fanout          runs two
 *   npm run bench all                   runs all, and draws the chart
 *   npm run bench hello -- --quick      only to see that it works: nothing is saved
 */

import { chart } from './chart.ts'
import { connect } from './connect.ts'
import { echo } from './echo.ts'
import { fanout } from './fanout.ts'
import { handlers } from './handlers.ts'
import { heap } from './heap.ts'
import { hello } from './hello.ts'
import { isQuick } from './lib/results.ts'
import { logs } from './logs.ts'
import { program } from './program.ts'
import { scale } from './scale.ts'
import { slow } from './slow.ts'
import { stop } from './stop.ts'

interface Bench {
  readonly about: string
  readonly run: () => Promise<void>
}

const benches: Record<string, Bench> = {
  hello: { about: 'a request that is answered with 12 bytes', run: hello },
  handlers: { about: 'five handlers with state, then 1 KB of JSON', run: handlers },
  echo: { about: 'a POST of 1 KB of JSON, parsed and answered', run: echo },
  connect: { about: 'to begin an event stream', run: connect },
  heap: { about: 'to hold an event stream', run: heap },
  fanout: { about: 'an event to 100, 1,000 and 5,000 clients', run: fanout },
  slow: { about: 'clients that do not read', run: slow },
  logs: { about: 'event logs: delivery, throughput, replay', run: logs },
  program: { about: 'handlers alone, without a server', run: program },
  scale: { about: 'what a million clients need: inputs and arithmetic', run: scale },
  stop: { about: 'from SIGTERM to the end of the process', run: stop },
  chart: { about: 'draws docs/bench.svg from bench/results', run: async () => chart() },
}

const named = process.argv.slice(2).filter((word) => !word.startsWith('-'))
const unknown =
  process.argv.slice(2).find((word) => word.startsWith('-') && word !== '--quick') ??
  named.find((name) => name !== 'all' && benches[name] === undefined)
if (unknown !== undefined) {
  console.error(`There is no bench ${JSON.stringify(unknown)}: choose from these, or all`)
  process.exitCode = 1
}
if (unknown !== undefined || named.length === 0) {
  for (const [name, { about }] of Object.entries(benches)) console.log(`${name.padEnd(10)}${about}`)
} else {
  const wanted = named.includes('all')
    ? Object.keys(benches).filter((name) => !(name === 'chart' && isQuick))
    : named
  for (const name of wanted) {
    const start = performance.now()
    await benches[name]!.run()
    console.log(`${name}: ${((performance.now() - start) / 1000).toFixed(0)} s\n`)
  }
}
// One that has failed may have left a process behind, which would keep this one: it ends with it.
process.exit()
