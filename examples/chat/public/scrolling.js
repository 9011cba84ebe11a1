// The log stays at its end, unless somebody reads what is above.

/** `button` leads to the end, and is shown when something new came there. */
export function keepAtEnd(root, button) {
  let atEnd = true

  const toEnd = () => {
    root.scrollTop = root.scrollHeight
    button.hidden = true
    atEnd = true
  }
  /** Something was added: `worthy` of the button, where nobody is at the end. */
  const follow = (worthy = false) => {
    if (atEnd) toEnd()
    else if (worthy) button.hidden = false
  }
  root.addEventListener('scroll', () => {
    atEnd = root.scrollHeight - root.scrollTop - root.clientHeight < 40
    if (atEnd) button.hidden = true
  })
  button.addEventListener('click', () => {
    toEnd()
    root.focus()
  })
  // The keyboard of a phone, a window that is made smaller, a banner.
  new ResizeObserver(() => follow()).observe(root)
  return { toEnd, follow }
}
