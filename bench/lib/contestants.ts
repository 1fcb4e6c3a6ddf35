/** Who takes part: a program in `bench/servers` for each name. */

export const titles = {
  'raw-http': 'raw node:http',
  'raw-net': 'raw node:net',
  wakerobin: 'Wakerobin',
  fastify: 'Fastify 5',
  hono: 'Hono 4',
  h3: 'h3 2',
  koa: 'Koa 3',
  express: 'Express 5',
}

export type Contestant = keyof typeof titles

/** What the others are measured against. */
export const reference: Contestant = 'raw-http'

export const frameworks: readonly Contestant[] = [
  'raw-http',
  'wakerobin',
  'fastify',
  'hono',
  'h3',
  'koa',
  'express',
]

/** Those, and raw node:net, where what it leaves out is not the work. */
export const everyone: readonly Contestant[] = ['raw-net', ...frameworks]
