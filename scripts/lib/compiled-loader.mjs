// For `node --import`: loads TypeScript as `compile.mjs` has compiled it. The query of its URL is the folders of the
// source and of what was made of it, as URLs.
import { readFileSync } from 'node:fs'
import * as module from 'node:module'

const here = new URL(import.meta.url)
const [from, to] = here.search.slice(1).split(',').map(decodeURIComponent)

// Node 20 has hooks only in a thread of their own, which imports this file once more.
if (module.registerHooks) module.registerHooks({ load })
else if (here.hash !== '#hooks') module.register(`${here.href}#hooks`)

export function load(url, context, nextLoad) {
  if (!url.startsWith(from) || !url.endsWith('.ts')) return nextLoad(url, context)
  const source = readFileSync(new URL(to + url.slice(from.length)), 'utf8')
  return { format: 'module', source, shortCircuit: true }
}
