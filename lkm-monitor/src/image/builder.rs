//! Modules for tests, with every byte where a linker would have it.

/// What a section is made of. `size_bytes` is what its header says.
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) content: Vec<u8>,
    pub(super) size_bytes: u64,
}

pub(super) struct Builder {
    is_64_bit: bool,
    is_big_endian: bool,
    parts: Vec<Part>,
    symbols: Vec<(Vec<u8>, u16)>,
}

pub(super) const WRITABLE: u64 = 1;
pub(super) const ALLOCATED: u64 = 2;
pub(super) const EXECUTABLE: u64 = 4;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
pub(super) const NOBITS: u32 = 8;

impl Builder {
    /// No section and no symbol, of x86-64.
    pub(super) fn new() -> Self {
        Self { is_64_bit: true, is_big_endian: false, parts: Vec::new(), symbols: Vec::new() }
    }

    /// A module of that name with what every module has.
    pub(super) fn module(name: &str) -> Self {
        Self::new()
            .section(".init.text", ALLOCATED | EXECUTABLE, b"\x31\xc0\xc3")
            .section(".modinfo", ALLOCATED, format!("license=GPL\0name={name}\0").as_bytes())
            .section(".gnu.linkonce.this_module", ALLOCATED | WRITABLE, &this_module(24, name))
    }

    /// For another class and byte order.
    pub(super) fn built_for(self, is_64_bit: bool, is_big_endian: bool) -> Self {
        Self { is_64_bit, is_big_endian, ..self }
    }

    pub(super) fn section(self, name: &str, flags: u64, content: &[u8]) -> Self {
        let (content, size_bytes) = (content.to_vec(), content.len() as u64);
        self.part(Part { name: name.into(), kind: PROGBITS, flags, content, size_bytes })
    }

    pub(super) fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(super) fn undefined(mut self, name: &str) -> Self {
        self.symbols.push((name.into(), 0));
        self
    }

    pub(super) fn defined(mut self, name: &str) -> Self {
        self.symbols.push((name.into(), 1));
        self
    }

    pub(super) fn build(mut self) -> Vec<u8> {
        let (mut symbols, mut strings) = (vec![0; if self.is_64_bit { 24 } else { 16 }], vec![0]);
        for (name, section) in std::mem::take(&mut self.symbols) {
            let at = strings.len() as u32;
            strings.extend(name.iter().chain(&[0]));
            symbols.extend(self.bytes(at.into(), 4));
            // Value and size are in another place in each class, and always zero here.
            symbols.extend(if self.is_64_bit { vec![0x10, 0] } else { [[0; 8].as_slice(), &[0x10, 0]].concat() });
            symbols.extend(self.bytes(section.into(), 2));
            symbols.extend(if self.is_64_bit { vec![0; 16] } else { vec![] });
        }
        for (name, kind, content) in [(".symtab", SYMTAB, symbols), (".strtab", STRTAB, strings)] {
            let size_bytes = content.len() as u64;
            self.parts.push(Part { name: name.into(), kind, flags: 0, content, size_bytes });
        }
        let mut names = vec![0];
        let mut name_at: Vec<usize> = Vec::new();
        for name in self.parts.iter().map(|part| part.name.as_slice()).chain([b".shstrtab".as_slice()]) {
            name_at.push(names.len());
            names.extend(name.iter().chain(&[0]));
        }
        let size_bytes = names.len() as u64;
        self.parts.push(Part { name: Vec::new(), kind: STRTAB, flags: 0, content: names, size_bytes });

        let (head_bytes, word, section_bytes) = if self.is_64_bit { (64, 8, 64) } else { (52, 4, 40) };
        let mut body = Vec::new();
        let mut headers = vec![0; section_bytes];
        for (part, name_at) in self.parts.iter().zip(name_at) {
            let link = if part.kind == SYMTAB { self.parts.len() - 1 } else { 0 };
            headers.extend(self.bytes(name_at as u64, 4));
            headers.extend(self.bytes(part.kind.into(), 4));
            headers.extend(self.bytes(part.flags, word));
            headers.extend(self.bytes(0, word));
            headers.extend(self.bytes((head_bytes + body.len()) as u64, word));
            headers.extend(self.bytes(part.size_bytes, word));
            headers.extend(self.bytes(link as u64, 4));
            headers.extend(self.bytes(0, 4));
            headers.extend(self.bytes(1, word));
            headers.extend(self.bytes(0, word));
            body.extend(&part.content);
        }
        let mut file = b"\x7fELF".to_vec();
        file.extend([1 + u8::from(self.is_64_bit), 1 + u8::from(self.is_big_endian), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let machine = if self.is_64_bit { 62 } else { 3 };
        for (value, width) in [(1, 2), (machine, 2), (1, 4), (0, word), (0, word)] {
            file.extend(self.bytes(value, width));
        }
        file.extend(self.bytes((head_bytes + body.len()) as u64, word));
        let count = self.parts.len() as u64 + 1;
        for (value, width) in
            [(0, 4), (head_bytes as u64, 2), (0, 2), (0, 2), (section_bytes as u64, 2), (count, 2), (count - 1, 2)]
        {
            file.extend(self.bytes(value, width));
        }
        [file, body, headers].concat()
    }

    fn bytes(&self, value: u64, width: usize) -> Vec<u8> {
        if self.is_big_endian {
            value.to_be_bytes()[8 - width..].to_vec()
        } else {
            value.to_le_bytes()[..width].to_vec()
        }
    }
}

/// `struct module` of a file, with its name there.
pub(super) fn this_module(name_at: usize, name: &str) -> Vec<u8> {
    let mut module = vec![0; 0x400];
    module[name_at..name_at + name.len()].copy_from_slice(name.as_bytes());
    module
}
