// Code fences and links of a markdown text.

/**
 * @typedef {object} Fence
 * @property {string} info What follows the opening ticks: 'ts no-run: opens a database'.
 * @property {number} line The line of the opening ticks, from 1.
 * @property {string} text The lines between, each with its newline.
 * @property {boolean} isNext Nothing but blank lines lies between it and the fence before.
 */

/**
 * @param {string} markdown
 * @returns {Fence[]}
 */
export function fencesOf(markdown) {
  const fences = []
  let open
  let isNext = false
  markdown.split('\n').forEach((line, index) => {
    const ticks = /^\s*(`{3,}|~{3,})\s*(.*?)\s*$/.exec(line)
    if (open && ticks && ticks[2] === '' && ticks[1].startsWith(open.ticks)) {
      fences.push({ info: open.info, line: open.line, text: open.text, isNext: open.isNext })
      open = undefined
      isNext = true
    } else if (open) {
      open.text += line + '\n'
    } else if (ticks) {
      open = { ticks: ticks[1], info: ticks[2], line: index + 1, text: '', isNext }
    } else if (line.trim() !== '') {
      isNext = false
    }
  })
  // Shown as one that says something unknown, which the check refuses.
  if (open) fences.push({ ...open, info: 'ts is not closed' })
  return fences
}

/**
 * The targets of all links and images outside of code.
 *
 * @param {string} markdown
 * @returns {{ target: string, line: number }[]}
 */
export function linksOf(markdown) {
  const links = []
  withoutCode(markdown)
    .split('\n')
    .forEach((line, index) => {
      for (const [, inline, reference] of line.matchAll(
        /\]\(\s*<?([^)\s>]+)|^\s*\[[^\]]+\]:\s*<?([^\s>]+)/g,
      )) {
        links.push({ target: inline ?? reference, line: index + 1 })
      }
    })
  return links
}

function withoutCode(markdown) {
  const lines = markdown.split('\n')
  for (const { line, text } of fencesOf(markdown)) {
    lines.fill('', line, line + text.split('\n').length - 1)
  }
  return lines.join('\n').replace(/`[^`\n]+`/g, '')
}
