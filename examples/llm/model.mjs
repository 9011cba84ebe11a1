// A text generator in place of a language model: no network, and the same text for the same prompt.
import { setTimeout as wait } from 'node:timers/promises'

const CORPUS = `The answer is longer than a message, and each word leaves when it is ready .
A page shows the first words while the model thinks about the next .
The model is slower than the network, and a reader is slower than the model .
A reader that has seen enough presses a button, and the model stops at the next word .
The words that a page has missed are kept for a while, and the page gets them when it is back .
A server that restarts forgets the model, and the page asks for the rest of the answer .`

const NEXT = chainOf(CORPUS.split(/\s+/))
const SENTENCES = 6

/**
 * Yields the tokens of an answer, one by one: together, and with their spaces, they are its text.
 *
 * @param prompt the seed
 * @param begun the beginning of the answer, if the client has it: the tokens go on from there
 * @param signal ends the generator: the `yield` throws its reason
 * @param pause the time for a token, in milliseconds
 */
export async function* generate(
  prompt,
  { begun = '', signal, pause = Number(process.env.TOKEN_PAUSE || 40) } = {},
) {
  let known = begun.length
  for (const token of tokensOf(prompt)) {
    if (token.length <= known) known -= token.length
    else {
      await wait(pause, undefined, { signal })
      yield token.slice(known)
      known = 0
    }
  }
}

/** Makes the tokens of an answer: after each word comes a word that follows it in the corpus. */
function* tokensOf(prompt) {
  const random = randomOf(prompt)
  let word = '.'
  let space = ''
  for (let sentences = 0; sentences < SENTENCES; ) {
    const choices = NEXT.get(word)
    word = choices[Math.floor(random() * choices.length)]
    if (word === '.') sentences++
    yield word === '.' ? word : `${space}${word}`
    space = ' '
  }
}

/** Returns the words that follow each word. */
function chainOf(words) {
  const next = new Map([['.', [words[0]]]])
  for (const [index, word] of words.entries()) {
    const following = words[index + 1]
    if (following) next.set(word, [...(next.get(word) ?? []), following])
  }
  return next
}

/** Returns a generator of numbers from 0 to 1 with a seed (mulberry32). */
function randomOf(seed) {
  let state = 2_166_136_261 // FNV-1a
  for (const character of seed) state = Math.imul(state ^ character.codePointAt(0), 16_777_619)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
