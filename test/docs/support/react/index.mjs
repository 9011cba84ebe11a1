// Two hooks of React as its documentation describes them, StrictMode included: an effect that is
// mounted runs, is cleaned up, and runs again.

/** The component that is being rendered. */
let current

/** Show a component; `rendered` holds what each rendering returned. */
export function mount(component) {
  const rendered = []
  const instance = { slots: [], next: 0, pending: [], render }
  let phase = 'shown'
  render()
  return {
    rendered,
    rerender: render,
    unmount() {
      phase = 'leaving'
      for (const { cleanUp } of instance.slots) cleanUp?.()
      phase = 'gone'
    },
  }

  function render() {
    if (phase === 'gone') throw new Error('A component that is gone was told to render.')
    if (phase === 'leaving') return
    current = instance
    instance.next = 0
    rendered.push(component())
    current = undefined
    for (const start of instance.pending.splice(0)) start()
  }
}

export function useEffect(effect, deps) {
  const instance = current
  const slot = slotOf(instance)
  const isFirst = slot.deps === undefined
  if (!isFirst && deps.every((dep, i) => Object.is(dep, slot.deps[i]))) return
  slot.deps = deps
  instance.pending.push(() => {
    slot.cleanUp?.()
    slot.cleanUp = effect()
    if (!isFirst) return
    slot.cleanUp?.() // StrictMode
    slot.cleanUp = effect()
  })
}

export function useSyncExternalStore(subscribe, getSnapshot, getServerSnapshot) {
  const instance = current
  const slot = slotOf(instance)
  const snapshot = getSnapshot()
  for (const again of [getSnapshot, getServerSnapshot]) {
    if (!Object.is(again(), snapshot)) throw new Error('The snapshot has to be cached.')
  }
  slot.snapshot = snapshot
  slot.getSnapshot = getSnapshot
  useEffect(() => {
    const check = () => {
      if (!Object.is(slot.getSnapshot(), slot.snapshot)) instance.render()
    }
    check() // it may have changed before it was subscribed to
    return subscribe(check)
  }, [subscribe])
  return snapshot
}

function slotOf(instance) {
  const index = instance.next++
  instance.slots[index] ??= {}
  return instance.slots[index]
}
