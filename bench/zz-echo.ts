import { fork } from 'node:child_process'
import { once } from 'node:events'
import { serve } from '@wakerobin/server-node'
import { createServer } from 'node:http'
const only = process.argv[2]
const raw = createServer((q, r) => {
  const chunks: Buffer[] = []
  q.on('data', (c) => chunks.push(c))
  q.on('end', () => {
    const t = JSON.stringify(
      JSON.parse((chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString()),
    )
    r.writeHead(200, [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(Buffer.byteLength(t)),
    ])
    r.end(t)
  })
})
await new Promise<void>((r) => raw.listen(0, '127.0.0.1', r))
const w = await serve(async (conn) => conn.json(await conn.requestBody.json()), {
  port: 0,
  host: '127.0.0.1',
})
const ports: [string, number][] = [
  ['raw', (raw.address() as any).port],
  ['w', Number(new URL(w.url!).port)],
]
const res: Record<string, number[]> = { raw: [], w: [] }
const kids = await Promise.all(
  ports.map(async ([, p]) => {
    const c = fork('/tmp/prof/load-echo.mjs', [String(p), '20', '1'], { execArgv: [] })
    await once(c, 'message')
    return c
  }),
)
for (let round = 0; round < 12; round++)
  for (const k of round % 2 ? [1, 0] : [0, 1]) {
    if (only && ports[k]![0] !== only) continue
    const u = process.cpuUsage()
    kids[k]!.send('go')
    await new Promise((r) => setTimeout(r, 700))
    kids[k]!.send('stop')
    const [n] = (await once(kids[k]!, 'message')) as [number]
    const { user, system } = process.cpuUsage(u)
    if (round > 2) res[ports[k]![0]]!.push((user + system) / n)
  }
const med = (a: number[]) => a.toSorted((x, y) => x - y)[a.length >> 1]
if (!only)
  console.log(
    'raw',
    med(res.raw!)?.toFixed(2),
    'w',
    med(res.w!)?.toFixed(2),
    'ratio',
    med(res.w!.map((x, i) => x / res.raw![i]!))?.toFixed(3),
  )
process.exit(0)
