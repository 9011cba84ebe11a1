import { element } from './dom.js'

/** The number of colors that are easy to distinguish. */
const HUES = 12

/** Creates a round picture of the initials in the color of this user. */
export function avatar(person) {
  const picture = element('span', 'avatar', initials(person.name))
  picture.ariaHidden = 'true'
  colour(picture, person)
  return picture
}

/** Gives an element the color of a user, as the hue for its style sheet. */
export function colour(target, { id }) {
  let hash = 2_166_136_261 // FNV-1a
  for (const character of id) hash = Math.imul(hash ^ character.codePointAt(0), 16_777_619) >>> 0
  target.style.setProperty('--hue', (hash % HUES) * (360 / HUES))
}

/** Returns the first letters of the first and last name; a letter may be an emoji of several parts. */
function initials(name) {
  const words = name.split(/\s+/)
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words
  return ends.map(firstLetter).join('').toUpperCase()
}

function firstLetter(word) {
  const [first] = new Intl.Segmenter().segment(word)
  return first?.segment ?? ''
}
