// Shows that the API page has what is public of a declaration, as it is written, and nothing else.
import assert from 'node:assert/strict'

import { connExtensionsOf, declarationsOf } from './declarations.mjs'

export function selfTest() {
  assert.deepEqual(Object.fromEntries(declarationsOf('frogs.ts', source)), expected)
  assert.deepEqual(connExtensionsOf('frogs.ts', source), [
    'hop(height?: number): Halted',
    'readonly legs: number',
  ])
}

const source = `
/** Runs. */
export async function run(app: App, options: RunOptions = {}): Promise<void> { await app }
export async function* count(): AsyncGenerator<number> { yield 1 }
export function pick(name: string): string
export function pick(at: number): number
export function pick(key: any): any { return key }

/** How. */
export interface RunOptions {
  /** In milliseconds. */
  timeMs?: number // not long
  /** What is done. */
  readonly jobs: readonly {
    /** The name. */
    name: string
  }[]
}
export interface Frog { croak(): void }
export abstract class Frog<in P = never> extends Animal implements AsyncIterable<P> {
  static readonly kind: string = 'frog'
  override readonly name = 'Frog'
  readonly legs: number = 4
  #skin = 'green'
  /** Made. */
  constructor(name: string) { super(name) }
  get skin(): string { return this.#skin }
  set skin(skin: string) { this.#skin = skin }
  static async find(name: string): Promise<Frog> { return null! }
  override async eat(fly: Fly): Promise<void> {}
  async *[Symbol.asyncIterator](): AsyncGenerator<P> {}
  jump(): void
  jump(height: number): void
  jump(height?: number): void { this.#hop() }
  #hop(): void {}
  private rest(): void {}
  abstract swim(): void
}
export class Pond { private constructor(frogs: Frog[]) {} }
export class Empty {}
export type Legs =
  // Two or four.
  | 2
  | 4
export const legs: Legs = 4, kinds = ['frog'] as const
const hidden = 1

declare module '@wakerobin/core' {
  interface ConnExtensions {
    /** Hops. */
    hop(height?: number): Halted
    readonly legs: number
  }
  interface Other { no: true }
}
`

const expected = {
  run: 'function run(app: App, options: RunOptions = {}): Promise<void>',
  count: 'function count(): AsyncGenerator<number>',
  pick: 'function pick(name: string): string\nfunction pick(at: number): number',
  RunOptions: `interface RunOptions {
  timeMs?: number
  readonly jobs: readonly {
    name: string
  }[]
}`,
  Frog: `abstract class Frog<in P = never> extends Animal implements AsyncIterable<P> {
  static readonly kind: string
  readonly name = 'Frog'
  readonly legs: number
  constructor(name: string)
  get skin(): string
  set skin(skin: string)
  static find(name: string): Promise<Frog>
  eat(fly: Fly): Promise<void>
  [Symbol.asyncIterator](): AsyncGenerator<P>
  jump(): void
  jump(height: number): void
  abstract swim(): void
}`,
  Pond: 'class Pond {\n  private constructor()\n}',
  Empty: 'class Empty {}',
  Legs: 'type Legs =\n  | 2\n  | 4',
  legs: 'const legs: Legs',
  kinds: "const kinds = ['frog'] as const",
}
