import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

import { eventLogConformance } from '@wakerobin/sse/testing'

import { fileLog } from './file-log.ts'
import type { FileLogOptions } from './options.ts'

const folders: string[] = []
after(() => {
  for (const path of folders) rmSync(path, { recursive: true })
})

function open(options: FileLogOptions): ReturnType<typeof fileLog> {
  folders.push(mkdtempSync(join(tmpdir(), 'wakerobin-log-')))
  return fileLog(folders.at(-1)!, options)
}

const kinds: Record<string, FileLogOptions> = {
  'by default': {},
  'that forces each event to the disk': { fsync: 'each' },
  'of many small files': { fsync: 'never', maxBytes: 1_000_000 },
}
for (const [kind, options] of Object.entries(kinds)) {
  const make = {
    open: () => open(options),
    reopen: () => fileLog(folders.at(-1)!, options),
    openBounded: (maxEvents: number) => open({ ...options, maxEvents }),
  }
  for (const { name, run } of eventLogConformance(make))
    test(`a log in files ${kind}: ${name}`, run)
}

const bounded = {
  open: () => open({}),
  // About 65 bytes each.
  openBounded: (events: number) => open({ fsync: 'never', maxBytes: events * 65 }),
}
for (const { name, run } of eventLogConformance(bounded))
  test(`a log in files of so many bytes: ${name}`, run)
