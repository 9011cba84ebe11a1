// Keeps the log at its end, unless the user has scrolled up.

/** `button` scrolls to the end. It appears when there is a new message below. */
export function keepAtEnd(root, button) {
  let atEnd = true

  const toEnd = () => {
    root.scrollTop = root.scrollHeight
    button.hidden = true
    atEnd = true
  }
  /** Follows new content. `worthy` content shows the button if the user has scrolled up. */
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
  // The keyboard of a phone, a smaller window or a banner changes the height.
  new ResizeObserver(() => follow()).observe(root)
  return { toEnd, follow }
}
