// The rules of scripts/prose.ts, and what counts as prose in a source or Markdown file.

/** `pronoun`: relative pronouns for people. `vague`: other words for a subject that has a name. */
export type Kind = 'pronoun' | 'vague' | 'length' | 'heading'

/** A run of prose: a paragraph, a list item, a table cell, a comment, a title. */
export interface Passage {
  line: number
  text: string
  /** Cells and titles are checked, but they would distort the figures for sentences. */
  kind: 'text' | 'cell' | 'heading' | 'title'
}

const LONGEST = 40
const LONGEST_HEADING = 10
const PRONOUN = /\b(?:who|whom|whose|whoever)\b/gi
const VAGUE =
  /\b(?:nobody|no one|none of|what comes|what came|those who|those that|one that|whichever|whatever|what else)\b/gi
const NEGATIVE = /\b(?:no|none|nobody|nothing)\b/i

export function findings(
  passages: readonly Passage[],
): { line: number; kind: Kind; problem: string }[] {
  return passages.flatMap(({ line, text, kind }) => {
    const found: { line: number; kind: Kind; problem: string }[] = []
    for (const [word] of text.matchAll(PRONOUN))
      found.push({ line, kind: 'pronoun', problem: `"${word}": name the subject` })
    for (const [word] of text.matchAll(VAGUE))
      found.push({ line, kind: 'vague', problem: `"${word}": name the subject` })
    if (kind === 'heading') {
      const problem = headingProblem(text)
      if (problem) found.push({ line, kind: 'heading', problem: `${problem}: "${text}"` })
      return found
    }
    for (const sentence of sentencesOf(text)) {
      const length = wordsOf(sentence)
      if (length > LONGEST)
        found.push({
          line,
          kind: 'length',
          problem: `${length} words: "${sentence.slice(0, 60)}…"`,
        })
    }
    return found
  })
}

/** The figures of an area; the share of negative sentences is in percent. */
export interface Statistics {
  words: number
  sentences: number
  median: number
  negative: number
}

/** Returns a sentence for each figure above its limit. */
export function excesses(
  area: string,
  figures: Statistics,
  goals: readonly { figure: keyof Statistics; most: number; unit: string }[],
): string[] {
  return goals
    .filter(({ figure, most }) => figures[figure] > most)
    .map(({ figure, most, unit }) => {
      const found = Math.ceil(figures[figure] * 10) / 10
      return `${area}: ${found} ${unit}, and at most ${most} are allowed`
    })
}

export function statistics(passages: readonly Passage[]): Statistics {
  const sentences = passages
    .filter(({ kind }) => kind === 'text')
    .flatMap(({ text }) => sentencesOf(text))
  const lengths = sentences.map(wordsOf).sort((a, b) => a - b)
  const negative = sentences.filter((sentence) => NEGATIVE.test(sentence)).length
  return {
    words: passages.reduce((sum, { text }) => sum + wordsOf(text), 0),
    sentences: sentences.length,
    median: lengths[lengths.length >> 1] ?? 0,
    negative: sentences.length === 0 ? 0 : (100 * negative) / sentences.length,
  }
}

function headingProblem(text: string): string | null {
  if (/[.:;,!]$/.test(text)) return 'a heading ends without punctuation'
  if (wordsOf(text) > LONGEST_HEADING) return 'a heading of more than ten words'
  if (/^(?:what (?:is|else|now)|how is|is the)\b/i.test(text)) return 'not what people search for'
  return null
}

function wordsOf(text: string): number {
  return text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word)).length
}

function sentencesOf(text: string): string[] {
  return text
    .split(/(?<=[.!?:;][)"*_]*)\s+(?=[^a-z])|(?<=[.!?][)"*_]*)\s+/u)
    .filter((sentence) => wordsOf(sentence) > 0)
}

/** Removes everything that is not prose: code, quotes, addresses of links, markup. */
function plain(text: string): string {
  return text
    .replace(/<!--.*?-->/gs, ' ')
    .replace(/(`+)[^`]+?\1/g, 'code')
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\[([^\]]*)\]\[[^\]]*\]/g, '$1')
    .replace(/\{@link \S+?\}/g, 'code')
    .replace(/<https?:[^>]*>|https?:\S+/g, 'address')
    .replace(/<\/?[a-z][^>]*>/gi, ' ')
    .replace(/"[^"]*"|“[^”]*”/g, 'quote')
    .replace(/\*\*|(?<!\w)[*_]|[*_](?!\w)/g, '')
    .replace(/\b(?:e\.g|i\.e|etc|vs)\./g, 'such')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Splits a Markdown file. Code blocks are left out; a cell counts as prose from five words on. */
export function passagesOf(markdown: string): Passage[] {
  const found: Passage[] = []
  let open: { line: number; lines: string[] } | null = null
  let fence: string | null = null
  const end = (): void => {
    if (open) found.push({ line: open.line, text: plain(open.lines.join(' ')), kind: 'text' })
    open = null
  }
  markdown.split('\n').forEach((raw, at) => {
    const line = at + 1
    const mark = /^\s*(```+|~~~+)/.exec(raw)?.[1]
    if (fence || mark) {
      end()
      if (!fence) fence = mark as string
      else if (mark?.startsWith(fence)) fence = null
      return
    }
    const text = raw.trim()
    const heading = /^#{1,6} (.*)$/.exec(text)?.[1]
    if (text === '' || heading || text.startsWith('|') || /^[-=]{3,}$/.test(text)) end()
    if (heading) found.push({ line, text: plain(heading), kind: 'heading' })
    else if (text.startsWith('|')) {
      for (const cell of text.split(/(?<!\\)\|/).map(plain))
        if (wordsOf(cell) > 4) found.push({ line, text: cell, kind: 'cell' })
    } else if (text !== '' && !/^[-=]{3,}$/.test(text)) {
      const item = /^(?:[-*+]|\d+\.) +(.*)$/.exec(text)?.[1]
      if (item !== undefined) end()
      open ??= { line, lines: [] }
      open.lines.push((item ?? text).replace(/^> ?/, ''))
    }
  })
  end()
  return found.filter(({ text }) => text !== '')
}

/** Returns the titles of a mocha file. */
export function titlesOf(source: string): Passage[] {
  const calls = /\b(?:describe|it|context)(?:\.only|\.skip)?\(\s*(['"`])((?:\\.|(?!\1).)*)\1/gs
  return [...source.matchAll(calls)].map((match) => ({
    line: source.slice(0, match.index).split('\n').length,
    text: plain((match[2] as string).replace(/\$\{[^}]*\}/g, 'value')),
    kind: 'title',
  }))
}

/**
 * Returns the comments of a TypeScript or JavaScript file. Neighboring `//` lines are one passage.
 */
export function commentsOf(source: string): Passage[] {
  const found: Passage[] = []
  // Skips strings and templates, so that a `//` in one is not a comment. A RegExp literal is
  // recognized by the character before it.
  const tokens =
    /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[(,=:[!&|?{};\n]\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/|\/\/[^\n]*|\/\*[\s\S]*?\*\//g
  let last: { end: number; column: number } | null = null
  for (const match of source.matchAll(tokens)) {
    const [token] = match
    if (!/^\/[/*]/.test(token)) continue
    const line = source.slice(0, match.index).split('\n').length
    const column = match.index - (source.lastIndexOf('\n', match.index) + 1)
    if (token.startsWith('/*')) {
      found.push(...blockOf(token, line))
      last = null
      continue
    }
    const text = token.slice(2).trim()
    if (/^(?:biome-ignore|@ts-|\/ <reference|-{3,}|\s*$)/.test(text)) continue
    const previous = found.at(-1)
    if (previous && last && last.end === line - 1 && last.column === column)
      previous.text = `${previous.text} ${text}`
    else found.push({ line, text, kind: 'text' })
    last = { end: line, column }
  }
  return found.map((passage) => ({ ...passage, text: plain(passage.text) }))
}

/** Returns the paragraphs, list items and tags of a block comment, without samples. */
function blockOf(token: string, line: number): Passage[] {
  const body = token.replace(/^\/\*+|\*+\/$/g, '').replace(/^[^\S\n]*\* ?/gm, '')
  const text = body
    .replace(/^[^\S\n]*@example[\s\S]*?(?=^[^\S\n]*@|$(?![\s\S]))/gm, (sample) =>
      sample.replace(/[^\n]+/g, ''),
    )
    .replace(/^[^\S\n]*@(?:param|typeParam) \S+(?: -)?|^[^\S\n]*@\w+/gm, '- ')
  return passagesOf(text).map((passage) => ({ ...passage, line: line + passage.line - 1 }))
}
