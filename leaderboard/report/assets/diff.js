// A word diff: the longest common subsequence of words, whitespace kept with the word before it.
const MAX_CELLS = 9e6;

function diff(before, after) {
  const [a, b] = [before, after].map((text) => text.match(/\S+\s*|\s+/g) || []);
  const same = (i, j) => a[i].trim() === b[j].trim();
  let start = 0, [m, n] = [a.length, b.length];
  while (start < m && start < n && same(start, start)) start += 1;
  while (m > start && n > start && same(m - 1, n - 1)) { m -= 1; n -= 1; }
  if ((m - start) * (n - start) > MAX_CELLS) return null;
  const [keptA, keptB] = common(start, m, n, same);
  for (let i = 0; i < a.length; i += 1) if (i < start || i >= m) keptA.add(i);
  for (let j = 0; j < b.length; j += 1) if (j < start || j >= n) keptB.add(j);
  return [segmentsOf(a, keptA), segmentsOf(b, keptB)];
}

function common(start, m, n, same) {
  const width = n - start + 1;
  const longest = new Uint16Array((m - start + 1) * width);
  for (let i = m - 1; i >= start; i -= 1) {
    for (let j = n - 1; j >= start; j -= 1) {
      const index = (i - start) * width + (j - start);
      longest[index] = same(i, j) ? longest[index + width + 1] + 1 : Math.max(longest[index + width], longest[index + 1]);
    }
  }
  const kept = [new Set(), new Set()];
  for (let i = start, j = start; i < m && j < n;) {
    const index = (i - start) * width + (j - start);
    if (same(i, j)) { kept[0].add(i); kept[1].add(j); i += 1; j += 1; }
    else if (longest[index + width] >= longest[index + 1]) i += 1;
    else j += 1;
  }
  return kept;
}

function segmentsOf(words, kept) {
  const segments = [];
  words.forEach((word, index) => {
    const last = segments.at(-1);
    if (last && last.same === kept.has(index)) last.text += word;
    else segments.push({ same: kept.has(index), text: word });
  });
  return segments;
}
