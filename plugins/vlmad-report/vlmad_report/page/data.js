// The data blocks of the page; details are parsed in blocks, when an image of the block is opened.
const DATA = JSON.parse($("data").textContent);
const CALIBRATION = DATA.calibration;

const ROWS = DATA.rows.map(([path, folder, score, verdict, region, regions, p, name, kinds], index) => ({
  index, path, folder, score, verdict, region, regions, p, name, kinds,
  label: verdict,
  file: fileName(path),
  search: path.toLowerCase(),
}));
delete DATA.rows;

const blocks = new Map();
function detailOf(row) {
  const block = Math.floor(row.index / DATA.details_per_block);
  if (!blocks.has(block)) blocks.set(block, JSON.parse($(`details-${block}`).textContent));
  return blocks.get(block)[row.index % DATA.details_per_block];
}

const TYPES = { heat: ["webp", "image/webp"] };
function pictureOf(row, kind) {
  if (!row.kinds.includes(kind)) return null;
  const [suffix, type] = TYPES[kind] || ["jpg", "image/jpeg"];
  const embedded = $(`file-${kind}/${row.name}.${suffix}`);
  if (embedded) return `data:${type};base64,${embedded.textContent}`;
  return `${DATA.folder}/${kind}/${encodeURIComponent(row.name)}.${suffix}`;
}

// A browser may forbid to keep anything for a file that was opened from a disk.
const Store = {
  works: true,
  memory: new Map(),
  get(key) {
    try {
      return localStorage.getItem(`vlmad-report:${key}`);
    } catch {
      Store.works = false;
      return Store.memory.get(key) ?? null;
    }
  },
  set(key, value) {
    Store.memory.set(key, value);
    try {
      localStorage.setItem(`vlmad-report:${key}`, value);
    } catch {
      Store.works = false;
    }
  },
};
