/**
 * Something that is read from the server and shown: loading, there, or failed.
 *
 * `useResource` asks when its inputs change and forgets the answer to a question that nobody asks any more. What was
 * there stays on the screen while it is asked for again, so that nothing jumps.
 */
import { useCallback, useEffect, useRef, useState } from './html.js';
import { ask } from './api.js';

/**
 * `{ data, etag, error, isLoading, reload }` of what `load(signal, isBackground)` gives. `reload(true)` is for what the
 * page does by itself.
 */
export function useLoad(load, inputs) {
    const [state, setState] = useState({ data: null, error: null, isLoading: true });
    const current = useRef(null);
    const reload = useCallback(async (isBackground = false) => {
        current.current?.abort();
        const controller = new AbortController();
        current.current = controller;
        setState((before) => ({ ...before, isLoading: true }));
        try {
            const answer = await load(controller.signal, isBackground === true);
            if (!controller.signal.aborted) setState({ ...answer, error: null, isLoading: false });
        } catch (error) {
            if (!controller.signal.aborted) setState((before) => ({ ...before, error, isLoading: false }));
        }
    }, inputs);
    useEffect(() => {
        reload();
        return () => current.current?.abort();
    }, [reload]);
    return { ...state, reload };
}

/** The same, of one path of the API. A path of `null` asks for nothing. */
export function useResource(path, query) {
    const text = JSON.stringify(query ?? {});
    return useLoad(
        (abort, isBackground) => (path ? ask('GET', path, { query, signal: abort, isBackground })
            : Promise.resolve({ data: null })),
        [path, text],
    );
}

/** Runs `act` every so often while the page is seen. */
export function useEvery(milliseconds, act) {
    const latest = useRef(act);
    latest.current = act;
    useEffect(() => {
        if (!milliseconds) return undefined;
        const timer = setInterval(() => document.visibilityState === 'visible' && latest.current(), milliseconds);
        return () => clearInterval(timer);
    }, [milliseconds]);
}

/** A list that comes in parts, each asked for when it is needed. */
export function useParts(path, query, size = 100) {
    const text = JSON.stringify(query);
    const [state, setState] = useState({ items: [], next: null, error: null, isLoading: true, asked: text });
    const busy = useRef(null);
    const load = useCallback(async (before, cursor) => {
        busy.current?.abort();
        const controller = new AbortController();
        busy.current = controller;
        setState((known) => ({ ...known, isLoading: true, error: null }));
        try {
            const { data } = await ask('GET', path,
                { query: { ...query, limit: cursor ? size : Math.min(size, 50), cursor }, signal: controller.signal });
            if (controller.signal.aborted) return;
            busy.current = null;
            setState({ items: [...before, ...data.items], next: data.next_cursor ?? null, error: null, isLoading: false,
                data });
        } catch (error) {
            if (controller.signal.aborted) return;
            busy.current = null;
            setState((known) => ({ ...known, error, isLoading: false }));
        }
    }, [path, text, size]);
    useEffect(() => {
        load([], undefined);
        return () => busy.current?.abort();
    }, [load]);
    const more = () => !busy.current && state.next && load(state.items, state.next);
    return { ...state, more, reload: () => load([], undefined), change: (items) =>
        setState((known) => ({ ...known, items })) };
}
