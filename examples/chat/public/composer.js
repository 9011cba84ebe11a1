// The field for a message, and its receiver.
import { ASSISTANT } from './assistant.js'
import { TYPING } from './typing.js'

export function createComposer(form, { isMe, onSay, onTyping }) {
  const { to, text } = form.elements
  let people = []
  let toldTyping = 0

  form.addEventListener('submit', send)
  text.addEventListener('keydown', sendOnEnter)
  text.addEventListener('input', tellTyping)

  function send(event) {
    event.preventDefault()
    text.focus()
    const said = text.value.trim()
    if (said === '') return
    onSay(said, receiver())
    text.value = ''
    toldTyping = 0
  }

  /** Enter sends. Shift+Enter is a new line, and Enter in an input method confirms its text. */
  function sendOnEnter(event) {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    form.requestSubmit()
  }

  function tellTyping() {
    const now = Date.now()
    if (to.value || text.value === '' || now - toldTyping < TYPING / 2) return
    toldTyping = now
    onTyping()
  }

  /** Returns the receiver of a private message, or undefined for the whole room. */
  function receiver() {
    if (to.value === ASSISTANT.id) return ASSISTANT
    return people.find(({ id }) => id === to.value)
  }

  /** Keeps the chosen receiver even after they left, so that a private message never goes to the room. */
  function showReceivers(present) {
    const chosen = receiver()
    people = present.filter((person) => !isMe(person))
    const gone = chosen && chosen !== ASSISTANT && !people.some(({ id }) => id === chosen.id)
    to.replaceChildren(
      new Option('Everybody', ''),
      ...people.map(({ name, id }) => new Option(name, id)),
      ...(gone ? [new Option(`${chosen.name} (left)`, chosen.id)] : []),
      new Option(ASSISTANT.name, ASSISTANT.id),
    )
    if (gone) people.push(chosen)
    to.value = chosen?.id ?? ''
  }

  return { showReceivers, focus: () => text.focus() }
}
