// A word diff: the longest common subsequence of words, whitespace kept with the word before it.
const MOST_CELLS = 9e6;

function diff(one, other) {
  const [a, b] = [one, other].map((text) => text.match(/\S+\s*|\s+/g) || []);
  const same = (i, j) => a[i].trim() === b[j].trim();
  let start = 0, [m, n] = [a.length, b.length];
  while (start < m && start < n && same(start, start)) start += 1;
  while (m > start && n > start && same(m - 1, n - 1)) { m -= 1; n -= 1; }
  if ((m - start) * (n - start) > MOST_CELLS) return null;
  const [keptA, keptB] = common(start, m, n, same);
  for (let i = 0; i < a.length; i += 1) if (i < start || i >= m) keptA.add(i);
  for (let j = 0; j < b.length; j += 1) if (j < start || j >= n) keptB.add(j);
  return [runs(a, keptA), runs(b, keptB)];
}

function common(start, m, n, same) {
  const width = n - start + 1;
  const longest = new Uint16Array((m - start + 1) * width);
  for (let i = m - 1; i >= start; i -= 1) {
    for (let j = n - 1; j >= start; j -= 1) {
      const at = (i - start) * width + (j - start);
      longest[at] = same(i, j) ? longest[at + width + 1] + 1 : Math.max(longest[at + width], longest[at + 1]);
    }
  }
  const kept = [new Set(), new Set()];
  for (let i = start, j = start; i < m && j < n;) {
    const at = (i - start) * width + (j - start);
    if (same(i, j)) { kept[0].add(i); kept[1].add(j); i += 1; j += 1; }
    else if (longest[at + width] >= longest[at + 1]) i += 1;
    else j += 1;
  }
  return kept;
}

function runs(words, kept) {
  const found = [];
  words.forEach((word, at) => {
    const last = found.at(-1);
    if (last && last.same === kept.has(at)) last.text += word;
    else found.push({ same: kept.has(at), text: word });
  });
  return found;
}
