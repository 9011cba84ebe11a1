/** The largest time beyond 1 ms between two turns of a 1 ms timer: the same in every runtime. */
let timer
let last = 0
let max = 0

export function startDelay() {
  clearInterval(timer)
  last = performance.now()
  max = 0
  timer = setInterval(() => {
    const now = performance.now()
    if (now - last - 1 > max) max = now - last - 1
    last = now
  }, 1)
}

export function stopDelay() {
  clearInterval(timer)
  return { maxMs: max }
}
