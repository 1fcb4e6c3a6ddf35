/** The parameters of a path, as the compiler reads them from its text. */

import type { Conn } from '@wakerobin/core'

// A phantom, as that of core's `Has`: declared, never assigned.
declare const param: unique symbol

/** The token for "the path that led here has a parameter of this name", for handlers that are written apart from
 * their route: `Handler<Param<'id'>>`, `router<Param<'org'>>()`. That of a wildcard is `Param<'*'>`. */
export interface Param<in out Name extends string> {
  readonly [param]: (name: Name) => Name
}

/** The tokens of the parameters of a path: `Param<'id'> | Param<'*'>` of `/users/:id/*`.
 *
 * None of a path that is not one literal: nobody knows its parameters. */
export type ParamsOf<Path extends string> =
  IsOneLiteral<Path> extends true ? TokenOf<Names<Path> | Wildcard<Path>> : never

type TokenOf<Name> = Name extends string ? Param<Name> : never

type Wildcard<Path> = Path extends `${string}*` ? '*' : never

type Names<Path> = Path extends `${string}:${infer Rest}` ? NameThenMore<Rest, ''> : never

/** Reads characters for as long as they are those of a name. */
type NameThenMore<Text, Name extends string> = Text extends `${infer First}${infer Rest}`
  ? First extends NameCharacter
    ? NameThenMore<Rest, `${Name}${First}`>
    : Name | Names<Text>
  : Name

type Letter = Characters<'abcdefghijklmnopqrstuvwxyz'>
type NameCharacter = Letter | Uppercase<Letter> | Characters<'0123456789_'>
type Characters<Text> = Text extends `${infer First}${infer Rest}`
  ? First | Characters<Rest>
  : never

// A record may lack the keys of `string` and of `/${string}`, and not those of a literal.
type IsOneLiteral<T extends string> =
  {} extends Record<T, 0> ? false : IsUnion<T> extends true ? false : true
type IsUnion<T, Whole = T> = T extends unknown ? ([Whole] extends [T] ? false : true) : never

/** What `conn.param` may be asked for: the parameters that the conn is known to have, or anything where none is. */
export type ParamName<C> = [KnownName<C>] extends [never] ? string : KnownName<C>

/** What `conn.param` gives: text where the conn is known to have parameters, else perhaps nothing. */
export type ParamValue<C> = [KnownName<C>] extends [never] ? string | undefined : string

type KnownName<C> = NameOf<[C] extends [Conn<infer P>] ? P : never>
type NameOf<P> = P extends Param<infer Name> ? Name : never
