// The public declarations of a TypeScript file as they are written there, without bodies, private parts and comments.
//
// `isolatedDeclarations` demands that every exported name says its types, so that nothing has to be worked out.
import { parse } from './parse.mjs'

/**
 * @param {string} path Names the file in errors.
 * @param {string} text
 * @returns {Map<string, string>} By name. Of a class beside an interface of the same name it is the class; of a function
 *   with overloads, the overloads.
 */
export function declarationsOf(path, text) {
  const { program, comments } = parse(path, text)
  const written = (start, end) => withoutComments(text, start, end, comments)
  const found = new Map()
  for (const { type, declaration } of program.body) {
    if (type !== 'ExportNamedDeclaration' || !declaration) continue
    for (const { name, rank, shown } of declared(declaration, written)) {
      const before = found.get(name)
      if (before === undefined || rank > before.rank) found.set(name, { rank, texts: [shown] })
      else if (rank === before.rank) before.texts.push(shown)
    }
  }
  return new Map([...found].map(([name, { texts }]) => [name, texts.join('\n')]))
}

/**
 * What a file adds to the conn: the members of `ConnExtensions` in it.
 *
 * @param {string} path
 * @param {string} text
 * @returns {string[]}
 */
export function connExtensionsOf(path, text) {
  const { program, comments } = parse(path, text)
  return program.body
    .filter(({ type }) => type === 'TSModuleDeclaration')
    .flatMap(({ body }) => body.body)
    .filter(({ type, id }) => type === 'TSInterfaceDeclaration' && id.name === 'ConnExtensions')
    .flatMap(({ body }) => body.body)
    .map(({ start, end }) => withoutComments(text, start, end, comments))
}

/** What a declaration declares; of several of one name, those with the highest rank are shown. */
function declared(node, written) {
  const { type, id, start, end, body } = node
  switch (type) {
    case 'TSDeclareFunction':
      return [{ name: id.name, rank: 2, shown: written(start, end) }]
    case 'FunctionDeclaration':
      return [{ name: id.name, rank: 1, shown: withoutAsync(written(start, body.start)) }]
    case 'ClassDeclaration':
      return [
        {
          name: id.name,
          rank: 2,
          shown: block(written(start, body.start), classMembers(body.body, written)),
        },
      ]
    case 'TSInterfaceDeclaration': {
      const members = body.body.map((member) => written(member.start, member.end))
      return [{ name: id.name, rank: 1, shown: block(written(start, body.start), members) }]
    }
    case 'VariableDeclaration':
      return node.declarations.map((declarator) => ({
        name: declarator.id.name,
        rank: 2,
        shown: `${node.kind} ${written(declarator.start, declarator.id.typeAnnotation?.end ?? declarator.end)}`,
      }))
    default:
      return [{ name: id.name, rank: 2, shown: written(start, end) }]
  }
}

function block(head, members) {
  return members.length === 0 ? `${head} {}` : `${head} {\n  ${members.join('\n  ')}\n}`
}

function classMembers(members, written) {
  const overloaded = new Set()
  const shown = []
  for (const member of members) {
    const { type, key, value, start, end, accessibility, typeAnnotation } = member
    if (member.kind === 'constructor' && accessibility === 'private')
      shown.push('private constructor()')
    if (type === 'StaticBlock' || key?.type === 'PrivateIdentifier' || accessibility === 'private')
      continue
    if (type === 'MethodDefinition' || type === 'TSAbstractMethodDefinition') {
      const name = written(key.start, key.end)
      if (value.body === null) overloaded.add(name)
      else if (overloaded.has(name)) continue
      shown.push(withoutAsync(written(start, value.body?.start ?? end)))
    } else {
      const isTyped = value !== null && value !== undefined && typeAnnotation
      shown.push(written(start, isTyped ? typeAnnotation.end : end).replace(/\boverride /, ''))
    }
  }
  return shown
}

/** How a function does it is no part of its type. */
function withoutAsync(text) {
  return text
    .replace(/^((?:static |override )*)async /, '$1')
    .replace(/^((?:static )?)override /, '$1')
    .replace(/^((?:static )?)\*/, '$1')
    .replace(/^function\*/, 'function')
}

function withoutComments(text, start, end, comments) {
  let rest = ''
  let at = start
  for (const comment of comments) {
    if (comment.start < at || comment.end > end) continue
    rest += text.slice(at, comment.start)
    at = comment.end
  }
  return (rest + text.slice(at, end))
    .replace(/[ \t]+$/gm, '')
    .replace(/\n{2,}/g, '\n')
    .trim()
}
