// Short error messages. They disappear by themselves, but not while one has the pointer or the focus.
import { element } from './dom.js'

const SHOWN = 8_000 // milliseconds
const MOST = 3

export function createToasts(root) {
  const shown = new Map() // by text

  function show(text) {
    shown.get(text)?.remove()
    if (shown.size >= MOST) shown.values().next().value.remove()
    const toast = createToast(text, () => {
      if (shown.get(text) === toast) shown.delete(text)
    })
    shown.set(text, toast)
    root.append(toast.element)
  }

  return { show }
}

function createToast(text, onRemoved) {
  const close = element('button', 'quiet', '×')
  close.type = 'button'
  close.ariaLabel = 'Dismiss'
  const toast = element('div', 'toast', element('p', '', text), close)
  let timer

  const start = () => {
    clearTimeout(timer)
    if (!toast.matches(':hover, :focus-within')) timer = setTimeout(remove, SHOWN)
  }
  const stop = () => clearTimeout(timer)

  function remove() {
    clearTimeout(timer)
    toast.remove()
    onRemoved()
  }
  function dismiss() {
    remove()
    document.querySelector('#text').focus()
  }

  close.addEventListener('click', dismiss)
  toast.addEventListener('keydown', ({ key }) => {
    if (key === 'Escape') dismiss()
  })
  for (const event of ['pointerenter', 'focusin']) toast.addEventListener(event, stop)
  for (const event of ['pointerleave', 'focusout']) toast.addEventListener(event, start)
  start()
  return { element: toast, remove }
}
