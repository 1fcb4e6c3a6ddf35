/** Writing to a file that is open, by its descriptor. */

import fs from 'node:fs'

/** Writes all of a buffer.
 * @returns How many bytes were written, and why not all of them. */
export async function write(
  file: number,
  buffer: Buffer,
  position: number,
): Promise<{ written: number; error?: unknown }> {
  let written = 0
  try {
    while (written < buffer.length)
      written += await writeSome(file, buffer.subarray(written), position + written)
    return { written }
  } catch (error) {
    return { written, error }
  }
}

/** Forces to the disk what was written. */
export function dataSync(file: number): Promise<void> {
  return new Promise((resolve, reject) => fs.fdatasync(file, settle(resolve, reject)))
}

export function truncate(file: number, length: number): Promise<void> {
  return new Promise((resolve, reject) => fs.ftruncate(file, length, settle(resolve, reject)))
}

export function close(file: number): Promise<void> {
  return new Promise((resolve, reject) => fs.close(file, settle(resolve, reject)))
}

/** Makes a file, or empties one. */
export function create(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, 'w+', (error, file) => (error === null ? resolve(file) : reject(error)))
  })
}

/** Forces to the disk which files are in a folder. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return // which does not open folders
  const folder = await new Promise<number>((resolve, reject) => {
    fs.open(path, 'r', (error, file) => (error === null ? resolve(file) : reject(error)))
  })
  try {
    await new Promise<void>((resolve, reject) => fs.fsync(folder, settle(resolve, reject)))
  } finally {
    await close(folder)
  }
}

/** The same, at once: when a log is opened. */
export function syncFolderNow(path: string): void {
  if (process.platform === 'win32') return
  const folder = fs.openSync(path, 'r')
  try {
    fs.fsyncSync(folder)
  } finally {
    fs.closeSync(folder)
  }
}

function writeSome(file: number, buffer: Buffer, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(file, buffer, 0, buffer.length, position, (error, written) =>
      error === null ? resolve(written) : reject(error),
    )
  })
}

function settle(
  resolve: () => void,
  reject: (error: Error) => void,
): (error: Error | null) => void {
  return (error) => (error === null ? resolve() : reject(error))
}
